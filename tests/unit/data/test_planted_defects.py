"""Defects planted into real pairs: nearly all are found, and other lines are left alone."""

import csv
from pathlib import Path
from random import Random

import pytest

from cl_haystack.data import Pair, PairCounts, find_overlap, pairs_from_qrels, read_beir
from cl_haystack.data.curation import Kind
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from tests.unit.data.checking import check, lines_with
from tests.unit.data.planting import (
    recall_and_false_alarms,
    with_copies,
    with_flipped_labels,
    with_halves,
    with_leaks,
    with_negatives,
)


@pytest.fixture(scope="module")
def docstrings() -> list[Pair]:
    """Real pairs that every machine has: summaries and bodies of docstrings."""
    return [Pair(anchor=docstring.summary, positive=docstring.body) for docstring in read_stdlib_docstrings()]


@pytest.fixture(scope="module")
def claims(data_dir: Path) -> list[Pair]:
    return list(pairs_from_qrels(read_beir(data_dir / "scifact", "train"), PairCounts()))


@pytest.fixture(scope="module")
def questions(data_dir: Path) -> list[Pair]:
    """Two questions of the same intent, each question in one pair."""
    with (data_dir / "banking77" / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    Random(1).shuffle(rows)
    waiting: dict[str, str] = {}
    pairs = []
    for row in rows:
        if len(row["text"].split()) < 2:
            continue
        if other := waiting.pop(row["category"], None):
            pairs.append(Pair(anchor=row["text"], positive=other))
        else:
            waiting[row["category"]] = row["text"]
    return pairs[:2500]


@pytest.mark.parametrize("source", ["docstrings", "claims", "questions"])
def test_edited_copies_are_found_and_other_lines_are_left_alone(source, request, tmp_path):
    pairs, planted = with_copies(request.getfixturevalue(source), share=0.1, seed=3)
    _, found = check(pairs, tmp_path)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.DUPLICATE, Kind.NEAR_DUPLICATE), planted, len(pairs)
    )
    assert recall >= 0.95
    assert false_alarms <= 0.01


@pytest.mark.parametrize("source", ["docstrings", "claims", "questions"])
def test_copies_of_the_positive_among_negatives_are_found(source, request, tmp_path):
    pairs, planted = with_negatives(request.getfixturevalue(source), seed=5, false_share=0.1)
    _, found = check(pairs, tmp_path)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.KNOWN_POSITIVE), planted, len(pairs)
    )
    assert recall >= 0.95
    assert false_alarms <= 0.01


def test_leaked_queries_and_the_known_overlap_of_scifact_are_found(claims, data_dir, tmp_path):
    task = read_beir(data_dir / "scifact", "test")
    report, before = check(claims, tmp_path, task=task)
    overlap = find_overlap(claims, task)
    assert report.evaluation["queries_sharing_most_words"] == overlap.num_near_duplicates >= 112
    assert report.evaluation["seen_documents"] == len(
        {document for ids in overlap.seen_documents.values() for document in ids}
    )
    pairs, planted = with_leaks(claims, list(task.queries.values()), seed=4)
    _, found = check(pairs, tmp_path, task=task)
    recall, false_alarms = recall_and_false_alarms(lines_with(found, Kind.EVAL_QUERY), planted, len(pairs))
    assert recall >= 0.95
    assert false_alarms <= 0.01
    assert lines_with(before, Kind.EVAL_QUERY)  # published claims that are the same but for an edit


@pytest.mark.slow
def test_a_model_finds_flipped_labels_and_answers_among_negatives(claims, base_bundle, tmp_path):
    from cl_haystack.encoder import Encoder

    encoder = Encoder.load(base_bundle)
    pairs, planted = with_flipped_labels(claims[::2], seed=7, share=0.05)
    report, found = check(pairs, tmp_path, encoder=encoder)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.DOUBTFUL_LABEL), planted, len(pairs)
    )
    assert recall >= 0.9
    assert false_alarms <= 0.01
    assert "are wrong" in report.notes[0]
    # Another part of the answer's document among the negatives: no text is repeated, nor hardly a word.
    pairs, planted = with_halves(claims[:300], seed=5, share=0.05)
    _, found = check(pairs, tmp_path, encoder=encoder)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.FALSE_NEGATIVE), planted, len(pairs)
    )
    assert recall >= 0.9
    assert false_alarms <= 0.01
    # Positive and negative changed places: no text is repeated, only the model can tell.
    pairs, _ = with_negatives(claims[:100], seed=5, false_share=0)
    swapped = {line for line in range(1, 101) if line % 10 == 0}
    pairs = [
        Pair(anchor=p.anchor, positive=p.negatives[0], negatives=(p.positive,)) if line in swapped else p
        for line, p in enumerate(pairs, start=1)
    ]
    _, found = check(pairs, tmp_path, encoder=encoder)
    recall, false_alarms = recall_and_false_alarms(
        lines_with(found, Kind.FALSE_NEGATIVE, Kind.FALSE_POSITIVE), swapped, len(pairs)
    )
    assert recall >= 0.95
    assert false_alarms <= 0.02
