"""Pairs on disk: rows come back as they were written, whatever they hold, and leave nothing behind."""

import gc
import multiprocessing
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cl_haystack.data import Pair
from cl_haystack.training.pair_table import PairTable, as_pair
from cl_haystack.training.sampling import text_id

texts = st.text(
    st.characters(codec="utf-8")
    | st.sampled_from("\0\u2028\u202e\ufeff\ufffd\x85e\u0301\U0001f600\U000e0041"),
    min_size=1,
    max_size=30,
).filter(lambda text: bool(text.strip()))


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    negatives = draw(st.lists(texts, max_size=4))
    scores = st.lists(
        st.floats(allow_nan=False, allow_infinity=False),
        min_size=len(negatives) + 1,
        max_size=len(negatives) + 1,
    )
    return Pair(
        anchor=draw(texts),
        positive=draw(texts),
        negatives=tuple(negatives),
        score=draw(st.none() | st.floats(0, 1)),
        label=draw(st.none() | st.integers(0, 1)),
        weight=draw(st.floats(0, 1e6, exclude_min=True)),
        candidate_scores=draw(st.none() | scores.map(tuple)),
        document_id=draw(st.none() | texts),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(pairs(), min_size=1, max_size=6), st.data())
def test_rows_come_back_as_they_were_written(given_pairs: list[Pair], data: st.DataObject) -> None:
    table = PairTable(given_pairs)
    order = data.draw(st.permutations(range(len(given_pairs))))
    assert len(table) == len(given_pairs)
    assert [as_pair(row) for row in table.rows(order)] == [given_pairs[i] for i in order]
    for i, pair in enumerate(given_pairs):
        assert table.texts.of(i) == {text_id(t) for t in (pair.anchor, pair.positive, *pair.negatives)}
        assert table.num_candidates(i) == len({pair.positive, *pair.negatives})
    for column, found in table.present.items():
        assert found == sum(getattr(pair, column) not in (None, ()) for pair in given_pairs)
    assert table.weighted == any(pair.weight != 1 for pair in given_pairs)


def test_a_lone_surrogate_never_gets_this_far() -> None:
    """Arrow could not store it; the record that lasts refuses it first, with the field's name."""
    with pytest.raises(ValidationError, match=r"anchor\n.*valid string"):
        Pair(anchor="cat \ud800", positive="red")
    with pytest.raises(ValidationError, match=r"negatives\.1\n.*valid string"):
        Pair(anchor="cat", positive="red", negatives=("blue", "\udfff"))


def test_the_digest_is_of_all_that_the_pairs_hold() -> None:
    pair = Pair(anchor="cat", positive="red", negatives=("a", "b"), score=0.5)
    variants = [
        pair,
        pair.model_copy(update={"weight": 2.0}),
        pair.model_copy(update={"score": 0.25}),
        pair.model_copy(update={"label": 0}),
        pair.model_copy(update={"negatives": ("a b",)}),
        pair.model_copy(update={"negatives": ("b", "a")}),
        pair.model_copy(update={"candidate_scores": (1.0, 0.5, 0.25)}),
    ]
    digests = {PairTable([variant]).digest for variant in variants}
    assert len(digests) == len(variants)
    origin = {"source": "elsewhere", "document_id": "d1"}  # which nobody learns from
    assert PairTable([pair]).digest == PairTable([pair.model_copy(update=origin)]).digest
    assert PairTable(variants[:2]).digest != PairTable(variants[1::-1]).digest


def test_pairs_are_drawn_once_and_no_pairs_are_no_rows() -> None:
    stream = iter([Pair(anchor="cat", positive="red")] * 3)
    assert len(PairTable(stream)) == 3
    assert next(stream, None) is None
    assert len(PairTable([])) == 0
    assert PairTable([]).rows([]) == []


def test_the_folder_goes_with_the_table_but_not_with_a_worker_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = PairTable([Pair(anchor="cat", positive="red")])
    (folder,) = tmp_path.iterdir()
    worker = multiprocessing.get_context("fork").Process(target=table.__dict__.clear)
    worker.start()
    worker.join()
    assert table.rows([0])[0]["anchor"] == "cat"
    del table
    gc.collect()
    assert not folder.exists()
