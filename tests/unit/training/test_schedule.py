"""The order of a run: every set its passes, one set a batch, no text on two devices."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.data import Pair
from cl_haystack.training.losses import CoSENT, InfoNCE
from cl_haystack.training.schedule import make_schedule, share_of
from cl_haystack.training.training_set import TrainingSet
from tests.unit.training.runs import many_pairs


def ranked(number: int, **options: Any) -> TrainingSet:
    return TrainingSet(many_pairs(number), **options)


def graded(number: int, **options: Any) -> TrainingSet:
    pairs = [pair.model_copy(update={"score": 0.5}) for pair in many_pairs(number)]
    return TrainingSet(pairs, loss=CoSENT(), **options)


def schedule(sets: list[TrainingSet], **options: Any) -> Any:
    defaults = {"batch_size": 4, "num_epochs": 1, "mixing": "proportional", "seed": 0}
    return make_schedule(sets, **defaults | options)  # type: ignore[arg-type]


def test_every_pair_once_a_pass_and_a_set_may_have_its_own_number_of_passes() -> None:
    batches = schedule([ranked(10), graded(7, num_epochs=3), ranked(6, num_epochs=1)], num_epochs=2)
    seen = [Counter(row for b in batches if b.training_set == i for row in b.rows) for i in range(3)]
    assert seen == [Counter(dict.fromkeys(range(n), k)) for n, k in ((10, 2), (7, 3), (6, 1))]
    assert all(len(batch.rows) <= 4 for batch in batches)


def test_passes_are_shuffled_anew_and_the_seed_decides() -> None:
    once = schedule([graded(8)], num_epochs=2)
    assert [b.rows for b in once[:2]] != [b.rows for b in once[2:]]
    assert once == schedule([graded(8)], num_epochs=2)
    assert once != schedule([graded(8)], num_epochs=2, seed=1)
    first, second = (schedule([graded(8), graded(8)])[i::2] for i in range(2))
    assert [b.rows for b in first] != [b.rows for b in second]


def test_proportional_spreads_each_set_over_the_whole_run() -> None:
    order = [batch.training_set for batch in schedule([graded(40), graded(8), graded(20)])]
    assert Counter(order) == {0: 10, 1: 2, 2: 5}
    for end in range(1, len(order) + 1):
        for position, total in ((0, 10), (1, 2), (2, 5)):
            share = order[:end].count(position)
            assert abs(share - total * end / len(order)) <= 1


def test_round_robin_takes_turns_until_one_set_has_no_more() -> None:
    order = [b.training_set for b in schedule([graded(40), graded(8), graded(20)], mixing="round_robin")]
    assert order == [0, 1, 2, 0, 1, 2]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("ghijkl")), min_size=1, max_size=25),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_no_text_is_twice_in_a_step_on_whichever_device(
    texts: list[tuple[str, str]], batch_size: int, num_devices: int
) -> None:
    pairs = [Pair(anchor=anchor, positive=positive) for anchor, positive in texts]
    training_set = TrainingSet(pairs)
    batches = schedule([training_set], batch_size=batch_size, num_devices=num_devices)
    rows = [row for batch in batches for row in batch.rows]
    assert len(rows) == len(set(rows))
    for batch in batches:
        shares = [share_of(batch, device, num_devices) for device in range(num_devices)]
        assert sorted(row for share in shares for row in share.rows) == sorted(batch.rows)
        assert all(1 <= len(share.rows) <= batch_size for share in shares)
        assert {share.training_set for share in shares} == {0}
        together = [text for row in batch.rows for text in texts[row]]
        assert len(together) == len(set(together))


def test_batches_that_cannot_teach_are_left_out() -> None:
    """Four pairs share a text, so each is alone; only the one with a hard negative has anything to learn."""
    pairs = [Pair(anchor=f"a{i}", positive="same") for i in range(3)]
    pairs.append(Pair(anchor="a3", positive="same", negatives=("other",)))
    assert [batch.rows for batch in schedule([TrainingSet(pairs)])] == [[3]]
    copies = [Pair(anchor="a0", positive="same", negatives=("same", "same"))]
    assert schedule([TrainingSet(copies)]) == []
    itself = [Pair(anchor="a0", positive="a0", negatives=("other",))]
    assert [batch.rows for batch in schedule([TrainingSet(itself)])] == [[0]]


def test_a_single_row_teaches_where_rows_do_not_meet() -> None:
    assert [batch.rows for batch in schedule([graded(1)])] == [[0]]


@pytest.mark.parametrize("num_devices", [2, 3])
def test_a_batch_with_fewer_rows_than_devices_is_left_out(num_devices: int) -> None:
    batches = schedule([graded(4 * num_devices + 1)], num_devices=num_devices)
    assert [len(batch.rows) for batch in batches] == [4 * num_devices]
    pairs = many_pairs(4 * num_devices + 1, negatives=lambda _: 1)
    batches = schedule([TrainingSet(pairs, loss=InfoNCE())], num_devices=num_devices)
    assert [len(batch.rows) for batch in batches] == [4 * num_devices]
