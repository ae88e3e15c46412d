"""Packing: nothing lost or doubled, the budget held, long texts first."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.encoder.batching import equal_length_batches, token_budget_batches

lengths = st.lists(st.integers(1, 300), max_size=80)


@given(lengths, st.integers(1, 2000))
def test_every_text_runs_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(token_budget_batches(lengths, budget))
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(lengths[i] for i in batch) <= budget or len(batch) == 1


@given(lengths, st.integers(1, 2000))
def test_batches_are_full_and_the_longest_come_first(lengths: list[int], budget: int) -> None:
    batches = list(token_budget_batches(lengths, budget))
    for batch, following in pairwise(batches):
        longest = max(lengths[i] for i in batch)
        assert longest * (len(batch) + 1) > budget
        assert min(lengths[i] for i in batch) >= max(lengths[i] for i in following)


@given(lengths, st.integers(1, 2000), st.integers(0, 300))
def test_texts_of_one_length_share_a_batch_and_long_ones_run_alone(
    lengths: list[int], budget: int, max_tokens: int
) -> None:
    batches = list(equal_length_batches(lengths, budget, max_tokens))
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    of_batches = [lengths[batch[0]] for batch in batches]
    assert of_batches == sorted(of_batches, reverse=True)
    for batch, length in zip(batches, of_batches, strict=True):
        assert {lengths[position] for position in batch} == {length}
        assert len(batch) == 1 or (length <= max_tokens and len(batch) * length <= budget)
