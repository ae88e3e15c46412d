import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.data import (
    Overlap,
    Pair,
    PairCounts,
    RetrievalTask,
    find_overlap,
    pairs_from_corpus,
    pairs_from_qrels,
    read_beir,
)


def make_task(path, queries, documents=(("d", "", "text"),), qrels=None):
    import json

    lines = [json.dumps({"_id": key, "title": title, "text": text}) for key, title, text in documents]
    path.write_text("\n".join(lines))
    qrels = qrels or {query_id: {} for query_id in queries}
    return RetrievalTask("set/test", path, len(documents), queries, qrels)


@pytest.fixture
def task(tmp_path):
    queries = {
        "anchor": "Is the  HEAP a tree?",
        "positive": "a heap keeps the smallest first",
        "negative": "an unrelated text",
        "near": "which list method sorts in place please",
        "far": "nobody has asked this before",
        "irrelevant": "one two three",
    }
    documents = [
        ("d1", "A title", "and its text"),
        ("d2", "", "whole document"),
        ("d3", "Title", "body"),
        ("d4", "", "new"),
        ("copy", "A  TITLE and", "its text"),
    ]
    qrels = {
        "anchor": {"d1": 1, "d4": 1, "copy": 1},
        "positive": {"d2": 2},
        "negative": {"d3": 1},
        "near": {"d4": 1, "d2": 0},
        "far": {"gone": 1, "d1": -1},
    }
    return make_task(tmp_path / "corpus.jsonl", queries, documents, qrels)


PAIRS = [
    Pair(anchor="is the heap a tree?", positive="a title and its text"),
    Pair(anchor="x", positive="A heap keeps\nthe smallest first"),
    Pair(anchor="y", positive="Whole Document", negatives=("new", "An unrelated text")),
    Pair(anchor="which list method sorts in place", positive="body"),
]


def test_every_kind_of_overlap(task):
    found = find_overlap(iter(PAIRS), task)
    assert found == Overlap(
        task="set/test",
        num_queries=6,
        num_pairs=4,
        exact_queries=("anchor", "positive", "negative"),
        near_duplicate_queries=("anchor", "near"),
        seen_documents={"anchor": ("copy", "d1"), "positive": ("d2",), "negative": ("d3",)},
        unseen_queries=("near", "far", "irrelevant"),
    )
    assert (found.num_exact, found.num_near_duplicates, found.num_seen, found.num_unseen) == (3, 2, 3, 3)
    sentence = found.describe()
    for part in (
        "6 queries of set/test",
        "3 stand in",
        "2 are near-dup",
        "3 have a relevant",
        "the 3 others",
    ):
        assert part in sentence


def test_no_overlap(task):
    found = find_overlap([Pair(anchor="x", positive="y"), Pair(anchor="?", positive="!")], task)
    assert (found.num_exact, found.num_near_duplicates, found.num_seen) == (0, 0, 0)
    assert found.unseen_queries == tuple(task.queries)
    assert found.describe() == "set/test shares no query and no relevant document with the 2 pairs"
    assert find_overlap([], task).num_unseen == 6


TEXTS = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=12).map(" ".join)


@given(st.lists(TEXTS, min_size=1, max_size=15), st.lists(TEXTS, max_size=15))
def test_near_duplicates_equal_comparing_all_with_all(tmp_path_factory, queries, anchors):
    path = tmp_path_factory.getbasetemp() / "corpus.jsonl"
    task = make_task(path, {f"q{number}": text for number, text in enumerate(queries)})
    found = find_overlap([Pair(anchor=anchor, positive="p") for anchor in anchors], task)
    near = []
    for query_id, query in task.queries.items():
        for anchor in anchors:
            both, either = set(query.split()) & set(anchor.split()), set(query.split()) | set(anchor.split())
            if 10 * len(both) >= 6 * len(either) and query_id not in near:
                near.append(query_id)
    assert list(found.near_duplicate_queries) == near


def without_ids(pairs):
    return [pair.model_copy(update={"document_id": None}) for pair in pairs]


def test_scripts_without_spaces_and_with_vowel_marks_have_words(tmp_path):
    queries = {
        "chinese": "北京有多少居民呢",
        "other": "上海在哪里",
        "hindi": "दिल्ली में कितने लोग रहते हैं",
        "same letters": "दल मन कत",
    }
    anchors = ["北京有多少居民", "दिल्ली में कितने लोग रहते"]
    overlap = find_overlap(
        (Pair(anchor=anchor, positive="text") for anchor in anchors), make_task(tmp_path / "c", queries)
    )
    assert overlap.near_duplicate_queries == ("chinese", "hindi")


@pytest.mark.parametrize("told", [list, without_ids])
def test_a_document_is_seen_where_parts_of_it_are_pairs(data_dir, told):
    task = read_beir(data_dir / "scifact", "test")
    relevant = {document for grades in task.qrels.values() for document in grades}
    documents, others = [], []
    for document in task.corpus():
        (documents if document.id in relevant else others).append(document)
    for method in ("title", "cloze", "crop"):
        found = find_overlap(told(pairs_from_corpus(documents, PairCounts(), methods=[method])), task)
        assert (found.num_seen, found.num_unseen) == (300, 0)
        unrelated = told(pairs_from_corpus(others[:500], PairCounts(), methods=[method]))
        assert not find_overlap(unrelated, task).num_seen


def test_an_id_names_a_document_where_its_text_fits(tmp_path):
    text = "the heap keeps its smallest element first, and takes another in logarithmic time"
    task = make_task(tmp_path / "corpus.jsonl", {"q": "query"}, [("7", "Heaps", text)], {"q": {"7": 1}})

    def is_seen(positive, document_id="7"):
        return find_overlap([Pair(anchor="?", positive=positive, document_id=document_id)], task).num_seen

    assert is_seen("its smallest element first")
    assert is_seen("it keeps its smallest element first")  # edited since
    assert not is_seen("its smallest element first", None)  # three words are in many a document
    assert not is_seen("of another corpus, whose seventh document this is")
    assert not is_seen("its smallest element first", "8")
    assert not is_seen("!!")


def test_scifact_test_claims_are_rewordings_of_training_claims(data_dir):
    pairs = pairs_from_qrels(read_beir(data_dir / "scifact", "train"), PairCounts())
    found = find_overlap(pairs, read_beir(data_dir / "scifact", "test"))
    assert (found.num_queries, found.num_exact, found.num_near_duplicates) == (300, 2, 116)
    assert (found.num_seen, found.num_unseen) == (196, 104)
