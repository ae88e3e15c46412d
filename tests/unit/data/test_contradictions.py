"""Lines that judge one pair of texts: which contradict each other, and which are duplicates."""

import pytest

from cl_haystack.data import Pair
from cl_haystack.data.curation import Kind
from tests.unit.data.checking import check, lines_with


def test_labels_that_contradict_each_other_are_dropped_and_the_majority_is_believed(tmp_path):
    texts = ["How do I order a new card?", "Where can I get another card?"]
    pairs = [
        Pair(anchor=texts[0], positive=texts[1], label=1),
        Pair(anchor=texts[1], positive=texts[0], label=0),
        Pair(anchor="Is there a fee?", positive="What does it cost?", label=1),
        Pair(anchor="Is there a fee?", positive="What does it cost?", label=1),
        Pair(anchor="what does it cost", positive="Is there a fee?", label=0),
        Pair(anchor="A man eats.", positive="A man is eating food.", score=0.9),
        Pair(anchor="A man eats.", positive="A man is eating food.", score=0.1),
    ]
    _, found = check(pairs, tmp_path)
    assert lines_with(found, Kind.CONTRADICTION) == {1, 2, 5, 6, 7}
    assert lines_with(found, Kind.DUPLICATE) == {4}


@pytest.mark.parametrize("yes", [{}, {"label": 1}, {"score": 0.9}])
@pytest.mark.parametrize("no", [{"label": 0}, {"score": 0.1}])
def test_a_judgement_that_says_no_is_no_duplicate_of_one_that_says_yes(yes, no, tmp_path):
    texts = {"anchor": "How do I order a new card?", "positive": "Where can I get another card?"}
    pairs = [Pair(**texts, **yes), Pair(**texts, **no)]
    _, found = check(pairs, tmp_path)
    assert found == {1: {"contradiction"}, 2: {"contradiction"}}
    _, found = check([*pairs, Pair(**texts)], tmp_path)
    assert found == {2: {"contradiction"}, 3: {"duplicate"}}
    turned_round = {"anchor": texts["positive"], "positive": texts["anchor"]}
    _, found = check([Pair(**turned_round, **yes), Pair(**texts, **no)], tmp_path)
    assert found == {1: {"contradiction"}, 2: {"contradiction"}}


def test_lines_that_say_yes_in_several_ways_are_duplicates_and_a_middling_score_is_none(tmp_path):
    texts = {"anchor": "How do I order a new card?", "positive": "Where can I get another card?"}
    edited = {**texts, "anchor": "How do I order a new crad?"}
    judgements = [{}, {"label": 1}, {"score": 0.8}, {"score": 0.5}, {"score": 0.6, "label": 1}]
    pairs = [Pair(**texts, **judgement) for judgement in judgements]
    _, found = check([*pairs, Pair(**edited, score=0.5), Pair(**edited, score=0.7, label=1)], tmp_path)
    assert lines_with(found, Kind.DUPLICATE) == {2, 3, 5}
    assert lines_with(found, Kind.NEAR_DUPLICATE) == {6, 7}
    assert len(found) == 5


def test_rows_that_differ_in_their_negatives_alone_are_kept(tmp_path):
    pairs = [Pair(anchor="a question", positive="its answer", negatives=(text,)) for text in ("one", "two")]
    report, _ = check([*pairs, pairs[1]], tmp_path)
    assert report.found == {"duplicate": 1}
