"""Batches without duplicates: nothing is lost, no text stands twice in a batch, the seed decides."""

from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.training.sampling import no_duplicate_batches

texts = st.lists(st.frozensets(st.sampled_from("abcdefgh"), min_size=1, max_size=3), max_size=40)


@given(texts, st.integers(1, 10), st.integers(0, 5))
def test_every_pair_once_and_no_text_twice_in_a_batch(
    texts: list[frozenset[str]], batch_size: int, seed: int
) -> None:
    batches = list(no_duplicate_batches(texts, batch_size, seed=seed))
    assert sorted(position for batch in batches for position in batch) == list(range(len(texts)))
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        together = [text for position in batch for text in texts[position]]
        assert len(together) == len(set(together))
    assert batches == list(no_duplicate_batches(texts, batch_size, seed=seed))


def test_batches_are_full_where_nothing_clashes() -> None:
    batches = list(no_duplicate_batches([frozenset({str(i)}) for i in range(100)], 32, seed=0))
    assert [len(batch) for batch in batches] == [32, 32, 32, 4]
    assert batches != list(no_duplicate_batches([frozenset({str(i)}) for i in range(100)], 32, seed=1))
