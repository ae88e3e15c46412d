"""The check of pairs as a whole: no line vanishes, what is odd is told, and no input is overwritten."""

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.data import Pair, read_pairs, write_pairs
from cl_haystack.data.curation import Kind, check_pairs
from cl_haystack.errors import ConfigurationError, DataError
from tests.unit.data.checking import check, lines_with

words = st.sampled_from(["card", "new", "not", "how", "5", "é", "!", "order", "crad", ""])
texts = st.lists(words, max_size=6).map(" ".join)
records = st.fixed_dictionaries(
    {"anchor": texts, "positive": texts},
    optional={
        "negatives": st.lists(texts, max_size=2),
        "label": st.integers(0, 2),
        "score": st.floats(-0.1, 1),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(records, st.text(max_size=5)), min_size=1, max_size=12))
def test_every_line_is_kept_or_told_and_the_answer_is_always_the_same(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("check")
    # What is nothing but white space to a reader of lines is no line.
    written = [json.dumps(line) for line in lines]
    (folder / "pairs.jsonl").write_text("\n".join(written))
    outcomes = []
    for _ in range(2):
        report = check_pairs(folder / "pairs.jsonl", folder / "clean.jsonl")
        outcomes.append([(folder / name).read_bytes() for name in ("clean.jsonl", "clean.dropped.jsonl")])
    assert outcomes[0] == outcomes[1]
    assert report.lines == len(lines) == report.kept + report.dropped
    assert report.kept == outcomes[0][0].count(b"\n")
    assert report.dropped + report.repaired == outcomes[0][1].count(b"\n")
    if report.kept:
        assert len(list(read_pairs(folder / "clean.jsonl"))) == report.kept


def test_a_known_positive_is_taken_out_and_the_pair_stays(tmp_path):
    first, second = "The answer is given here at length.", "Another answer, which is right as well."
    pairs = [
        Pair(
            anchor="Which answer?",
            positive=first,
            negatives=("Something else.", second + "!"),
            candidate_scores=(0.9, 0.1, 0.8),
        ),
        Pair(anchor="which answer", positive=second),
    ]
    write_pairs(pairs, tmp_path / "pairs.jsonl")
    report = check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl")
    assert (report.kept, report.repaired, report.dropped) == (2, 1, 0)
    kept = list(read_pairs(tmp_path / "clean.jsonl"))
    assert kept[0].negatives == ("Something else.",)
    assert kept[0].candidate_scores == (0.9, 0.1)
    [told] = map(json.loads, (tmp_path / "clean.dropped.jsonl").read_text().splitlines())
    assert told["kept_without"] == [second + "!"]
    assert told["record"] == pairs[0].model_dump(mode="json", exclude_defaults=True)


def test_boilerplate_odd_lengths_and_languages_are_told_and_kept(tmp_path):
    random = Random(0)
    vocabulary = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "ndrst"]
    pairs = [
        Pair(anchor=" ".join(random.sample(vocabulary, 9)), positive=" ".join(random.sample(vocabulary, 40)))
        for _ in range(400)
    ]
    for line in range(30):
        pairs[line] = pairs[line].model_copy(update={"positive": "Please log in to read on."})
    pairs[40] = pairs[40].model_copy(update={"positive": " ".join(vocabulary * 20)})
    _, found = check(pairs, tmp_path)
    assert lines_with(found, Kind.BOILERPLATE) == set(range(1, 31))
    assert lines_with(found, Kind.LENGTH) == {41}
    assert check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl").dropped == 0
    german = "Wie lautet die Rechnung für meine letzte Bestellung im Kundenkonto?"
    english = "Where do I find the invoice for my last order in the customer account?"
    _, found = check(
        [Pair(anchor=german, positive=english), Pair(anchor=english, positive="yes")], tmp_path, language="en"
    )
    assert found == {1: {"language"}}


def test_files_that_would_be_overwritten_are_refused(tmp_path):
    write_pairs([Pair(anchor="a", positive="b")], tmp_path / "pairs.jsonl")
    with pytest.raises(ConfigurationError, match="three files"):
        check_pairs(tmp_path / "pairs.jsonl", tmp_path / "pairs.jsonl")
    with pytest.raises(ConfigurationError, match="language 'english' is unknown"):
        check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl", language="english")
    with pytest.raises(DataError, match="no such file"):
        check_pairs(tmp_path / "missing.jsonl", tmp_path / "clean.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.jsonl"]
