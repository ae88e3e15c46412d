"""Batches without duplicates: nothing is lost, no text stands twice in a batch, the seed decides."""

import time
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.training.sampling import TextIds, no_duplicate_batches, shuffled_batches, text_id

texts = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=4), max_size=40)


def text_ids(pairs: list[list[int]]) -> TextIds:
    """Ids of pairs, each given by its texts, as a table of pairs would hold them."""
    flat = [text for pair in pairs for text in pair]
    return TextIds(np.array(flat, np.int64), np.array(list(accumulate(map(len, pairs))), np.int64))


@given(texts, st.integers(1, 10), st.integers(0, 5))
def test_every_pair_once_and_no_text_twice_in_a_batch(
    pairs: list[list[int]], batch_size: int, seed: int
) -> None:
    batches = list(no_duplicate_batches(text_ids(pairs), batch_size, seed=seed))
    assert sorted(position for batch in batches for position in batch) == list(range(len(pairs)))
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        together = [text for position in batch for text in set(pairs[position])]
        assert len(together) == len(set(together))
    assert batches == list(no_duplicate_batches(text_ids(pairs), batch_size, seed=seed))


def test_batches_are_full_where_nothing_clashes() -> None:
    pairs = text_ids([[2 * i, 2 * i + 1] for i in range(100)])
    batches = list(no_duplicate_batches(pairs, 32, seed=0))
    assert [len(batch) for batch in batches] == [32, 32, 32, 4]
    assert batches != list(no_duplicate_batches(pairs, 32, seed=1))


def test_a_text_of_any_column_counts() -> None:
    """An anchor that is another pair's positive, or another's negative, keeps the two apart."""
    pairs = text_ids([[0, 1], [1, 2], [3, 4, 0]])
    together = [set(batch) for batch in no_duplicate_batches(pairs, 3, seed=0)]
    assert not any({0, 1} <= batch or {0, 2} <= batch for batch in together)
    assert sum(map(len, together)) == 3


class CountingTexts(TextIds):
    """Counts how often a pair is looked at."""

    looks = 0

    def of(self, pair: int) -> frozenset[int]:
        CountingTexts.looks += 1
        return super().of(pair)


@pytest.mark.parametrize("shared", [1, 20, 1_000], ids=lambda shared: f"{shared}-texts-in-half-of-all")
def test_work_grows_with_the_data_however_often_a_text_is_repeated(shared: int) -> None:
    """Retrying every waiting pair for every batch would take millions of looks here."""
    num_pairs = 20_000
    pairs = text_ids([[-1 - i % shared if i % 2 else i, num_pairs + i] for i in range(num_pairs)])
    CountingTexts.looks = 0
    batches = list(no_duplicate_batches(CountingTexts(pairs.flat, pairs.ends), 32, seed=0))
    assert sorted(i for batch in batches for i in batch) == list(range(num_pairs))
    assert CountingTexts.looks < 6 * num_pairs
    assert len(batches) >= num_pairs / 2 / shared  # a text that is shared can be in a batch once


def test_200_000_pairs_that_share_a_text_take_seconds() -> None:
    num_pairs = 200_000
    pairs = text_ids([[-1 if i % 2 else i, num_pairs + i] for i in range(num_pairs)])
    started = time.process_time()
    batches = list(no_duplicate_batches(pairs, 64, seed=0))
    assert time.process_time() - started < 10
    assert sorted(i for batch in batches for i in batch) == list(range(num_pairs))


@given(st.integers(0, 50), st.integers(1, 9), st.integers(0, 3))
def test_shuffled_batches_lose_nothing(num_pairs: int, batch_size: int, seed: int) -> None:
    batches = shuffled_batches(num_pairs, batch_size, seed=seed)
    assert sorted(i for batch in batches for i in batch) == list(range(num_pairs))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert batches == shuffled_batches(num_pairs, batch_size, seed=seed)


def test_text_ids_are_the_same_on_every_machine() -> None:
    assert text_id("cat") == 3_686_158_003_148_265_519
    assert text_id("e\u0301") != text_id("\u00e9")
    assert text_id("\ud800") != text_id("\ufffd")
