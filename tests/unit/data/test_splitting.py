"""Parts of data: nothing held out is trained on, and small subsets lie within larger ones."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.data import (
    CorpusDocument,
    Pair,
    PairCounts,
    is_held_out,
    pairs_from_corpus,
    read_pairs,
    split_by_group,
    write_pairs,
)
from cl_haystack.data.normalization import normalized
from cl_haystack.data.splitting import SPLITS, nested_subsets, split_file, split_pairs
from cl_haystack.errors import ConfigurationError, DataError


@given(st.lists(st.text(max_size=3)), st.floats(0, 1), st.integers(0, 5))
def test_nothing_is_lost_doubled_or_shared(groups, fraction, seed):
    items = list(enumerate(groups))
    train, held_out = split_by_group(items, lambda item: item[1], fraction=fraction, seed=seed)
    assert sorted(train + held_out) == items
    assert not {group for _, group in train} & {group for _, group in held_out}


def test_the_split_does_not_depend_on_the_process():
    code = (
        "from cl_haystack.data import is_held_out\n"
        "print([is_held_out(str(i), fraction=0.5) for i in range(64)])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = [is_held_out(str(i), fraction=0.5) for i in range(64)]
    assert other.strip() == str(here)
    assert 20 < sum(here) < 44


def test_known_groups_keep_their_side():
    # Golden: a change here moves everybody's held-out data.
    held_out = [name for name in ("json", "email", "asyncio", "os", "re") if is_held_out(name, fraction=0.5)]
    assert held_out == ["email", "os", "re"]


def test_fraction_and_seed_matter():
    names = [str(i) for i in range(2000)]
    assert not any(is_held_out(name, fraction=0) for name in names)
    assert all(is_held_out(name, fraction=1) for name in names)
    assert 300 < sum(is_held_out(name, fraction=0.2) for name in names) < 500
    assert any(is_held_out(n, fraction=0.5) != is_held_out(n, fraction=0.5, seed=1) for n in names)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        is_held_out("group", fraction=fraction)


texts = st.sampled_from([f"text {number}" for number in range(12)])
pairs_lists = st.lists(
    st.builds(Pair, anchor=texts, positive=texts, negatives=st.lists(texts, max_size=2).map(tuple)),
    max_size=30,
)


@given(pairs_lists, st.sampled_from(["document", "query"]), st.integers(0, 5))
def test_no_held_out_text_is_trained_on(pairs, by, seed):
    try:
        train, held_out, neither = split_pairs(pairs, by=by, fraction=0.3, seed=seed)
    except ConfigurationError:  # all pairs are in one part
        return
    assert len(train) + len(held_out) + neither == len(pairs)
    kept = {normalized(text) for pair in held_out for text in (pair.anchor, pair.positive)}
    assert not [p for p in train if kept & {normalized(t) for t in (p.anchor, p.positive, *p.negatives)}]


@pytest.mark.parametrize("by", ["document", "query"])
def test_pairs_of_one_document_are_in_one_part_whatever_their_texts(by):
    text = "It has a first sentence of more words, number {0}. The second one of {0} follows on that."
    documents = [CorpusDocument(f"d{i}", f"Title {i}", text.format(i)) for i in range(60)]
    pairs = list(pairs_from_corpus(documents, PairCounts(), methods=["title", "cloze"]))
    assert len({pair.positive for pair in pairs}) > 100
    train, held_out, _ = split_pairs(pairs, by=by, fraction=0.3)
    assert len(train) > 20 < len(held_out)
    assert not {pair.document_id for pair in train} & {pair.document_id for pair in held_out}
    if by == "document":
        assert len(train) + len(held_out) == len(pairs)
    # A pair that does not tell its document stays out where it has a held-out one's text.
    unnamed = held_out[0].model_copy(update={"document_id": None, "anchor": "another question"})
    again, _, neither = split_pairs([*pairs, unnamed], by=by, fraction=0.3)
    assert unnamed not in again
    assert neither <= len(pairs) - len(train) - len(held_out) + 1


@pytest.mark.parametrize("by", SPLITS)
def test_a_file_is_split_like_its_pairs(tmp_path, by):
    pairs = [
        Pair(
            anchor=f"question {n}",
            positive=f"answer {n % 50}",
            negatives=(f"answer {(n + 7) % 300}",),
            document_id=f"d{n % 50}" if n % 3 else None,
            source=f"s{n % 9}",
            topic=f"t{n % 10}",
            time=f"2026-01-{1 + n % 28:02}",
        )
        for n in range(200)
    ]
    every, train, held_out = (tmp_path / f"{name}.jsonl" for name in ("every", "train", "held_out"))
    write_pairs(pairs, every)
    counts = split_file(every, train=train, held_out=held_out, by=by, fraction=0.2, seed=3)
    expected = split_pairs(pairs, by=by, fraction=0.2, seed=3)
    assert (list(read_pairs(train)), list(read_pairs(held_out)), counts["neither"]) == expected
    assert counts["train"] + counts["held_out"] + counts["neither"] == len(pairs)


def test_where_a_part_would_be_empty_no_file_is_written(tmp_path):
    write_pairs([Pair(anchor="a", positive="p")], tmp_path / "every.jsonl")
    train, held_out = tmp_path / "train.jsonl", tmp_path / "held_out.jsonl"
    train.write_text("what was there before")
    with pytest.raises(
        ConfigurationError, match="no pair is left in the held-out part of 1 pairs split by query"
    ):
        split_file(tmp_path / "every.jsonl", train=train, held_out=held_out, by="query", fraction=0, seed=0)
    assert {path.name for path in tmp_path.iterdir()} == {"every.jsonl", "train.jsonl"}
    assert train.read_text() == "what was there before"


@given(pairs_lists, st.lists(st.integers(1, 20), min_size=2, max_size=4, unique=True))
def test_subsets_are_nested_and_have_their_sizes(pairs, sizes):
    subsets = nested_subsets(pairs, sizes)
    ids = {size: {id(pair) for pair in subset} for size, subset in subsets.items()}
    for small in sizes:
        assert len(subsets[small]) == min(small, len(pairs))
        assert all(ids[small] <= ids[large] for large in sizes if large > small)


def test_a_subset_depends_on_the_seed_and_not_on_the_order():
    pairs = [Pair(anchor=f"a{number}", positive="p") for number in range(50)]
    drawn = [{p.anchor for p in nested_subsets(part, [10])[10]} for part in (pairs, pairs[::-1])]
    assert drawn[0] == drawn[1] != {p.anchor for p in nested_subsets(pairs, [10], seed=1)[10]}


def test_a_topic_is_in_one_part_with_all_its_texts():
    names = ("Billing", " billing", "Login", "Delivery", "Returns", "Refunds")
    pairs = [
        Pair(anchor=f"q{number}", positive=f"answer {number % 100}", topic=names[number % len(names)])
        for number in range(120)
    ]
    train, held_out, neither = split_pairs(pairs, by="topic", fraction=0.4, seed=2)
    topics = [{pair.topic.strip().casefold() for pair in part} for part in (train, held_out)]
    assert topics[0]
    assert topics[1]
    assert topics[0].isdisjoint(topics[1])
    assert {pair.positive for pair in train}.isdisjoint(pair.positive for pair in held_out)
    assert len(train) + len(held_out) + neither == len(pairs)
    with pytest.raises(DataError, match=r"a pair has no 'topic' \('b'\)"):
        split_pairs([*pairs, Pair(anchor="b", positive="p")], by="topic")


def test_the_newest_are_held_out_by_time():
    days = ["2026-03-01", "2026-01-01T12:00:00+02:00", "2026-01-01T11:00:00Z", "2026-02-01", "2026-02-01"]
    pairs = [Pair(anchor=f"a{day}", positive=f"p{day}", time=time) for day, time in enumerate(days)]
    train, held_out, _ = split_pairs(pairs, by="time", fraction=0.4)
    assert [pair.anchor for pair in held_out] == ["a0", "a3", "a4"]  # all of a day are in one part
    assert [pair.anchor for pair in train] == ["a1", "a2"]
    train, held_out, neither = split_pairs(
        [*pairs, pairs[1].model_copy(update={"positive": "P0"})], by="time", fraction=0.2
    )
    assert ([pair.anchor for pair in held_out], neither) == (["a0"], 1)
    with pytest.raises(DataError, match=r"a pair has no 'time' \('b'\)"):
        split_pairs([*pairs, Pair(anchor="b", positive="p")], by="time")
    with pytest.raises(ConfigurationError, match="no pair is left in the held-out part"):
        split_pairs(pairs, by="time", fraction=0)


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigurationError, match="cannot split by 'colour'; expected one of document, query"):
        split_pairs([Pair(anchor="a", positive="b")], by="colour")
    with pytest.raises(ConfigurationError, match=r"sizes are \[0\]"):
        nested_subsets([], [0])
