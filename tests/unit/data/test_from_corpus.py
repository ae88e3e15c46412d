import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.data import (
    CorpusDocument,
    Pair,
    PairCounts,
    RetrievalTask,
    pairs_from_corpus,
    pairs_from_qrels,
)
from cl_haystack.data import cloze as cloze_module
from cl_haystack.data.normalization import normalized
from cl_haystack.errors import ConfigurationError


def test_titles_become_anchors_and_every_skipped_document_is_counted():
    documents = [
        CorpusDocument("1", "Title", "Body"),
        CorpusDocument("2", " TITLE ", "body\n"),
        CorpusDocument("3", " ", "text"),
        CorpusDocument("4", "title", ""),
        CorpusDocument("5", "same  text", "Same text"),
        CorpusDocument("6", "Title", "Another body"),
    ]
    counts = PairCounts()
    assert list(pairs_from_corpus(documents, counts)) == [
        Pair(anchor="Title", positive="Body", source="title", document_id="1"),
        Pair(anchor="Title", positive="Another body", source="title", document_id="6"),
    ]
    assert counts == PairCounts(pairs=2, duplicates=1, without_title=1, without_text=1, same_text=1)
    assert sum(counts.as_dict().values()) == len(documents)


def test_judgements_become_pairs_and_every_skipped_judgement_is_counted(tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        '{"_id": "a", "title": "T", "text": "x"}\n{"_id": "b", "text": ""}\n{"_id": "c", "text": "y"}\n'
        '{"_id": "d", "title": "t", "text": "X"}\n'
    )
    qrels = {"q": {"a": 2, "b": 1, "c": 0, "gone": 1, "d": 1}, "r": {"c": 1}}
    task = RetrievalTask("set/train", corpus, 4, {"q": "what?", "r": "why?"}, qrels)
    counts = PairCounts()
    assert list(pairs_from_qrels(task, counts)) == [
        Pair(anchor="what?", positive="T x", source="set/train", document_id="a"),
        Pair(anchor="why?", positive="y", source="set/train", document_id="c"),
    ]
    assert counts == PairCounts(pairs=2, duplicates=1, without_text=1, missing_documents=1, not_relevant=1)
    assert sum(counts.as_dict().values()) == 6


words = st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "Ünder", "x", "42", "it."])
sentences = st.lists(words, min_size=1, max_size=50).map(lambda some: " ".join(some) + ".")
texts = st.lists(sentences, max_size=6).map("  ".join)


@st.composite
def corpora(draw):
    parts = draw(st.lists(st.tuples(st.sampled_from(["", "A title", "The cat sat."]), texts), max_size=8))
    return [CorpusDocument(f"d{i}", title, text) for i, (title, text) in enumerate(parts)]


def make(documents, methods, seed=42):
    counts = PairCounts()
    pairs = list(pairs_from_corpus(documents, counts, methods=methods, seed=seed))
    assert counts.pairs == len(pairs)
    assert sum(counts.as_dict().values()) == len(documents) * len(methods)
    return pairs


@settings(deadline=None)
@given(corpora())
def test_a_sentence_is_in_its_document_and_the_rest_says_it_no_more_unless_it_was_kept(documents):
    contents = [document.content for document in documents]
    for pair in make(documents, ["cloze"]):
        assert 5 <= len(pair.anchor.split()) <= 45
        if pair.positive in contents:  # kept
            assert pair.anchor in pair.positive
            continue
        assert normalized(pair.anchor) not in normalized(pair.positive)
        assert any(
            pair.anchor in document.text
            and pair.positive.startswith(document.title)
            and sorted((document.title + " " + document.text).split())
            == sorted(pair.positive.split() + pair.anchor.split())
            for document in documents
        )


def test_a_sentence_stays_in_a_tenth_of_the_contexts():
    text = "The first sentence has six words. The second one has a few more words. And a third."
    pairs = make([CorpusDocument(f"d{i}", f"Title {i}", text) for i in range(2000)], ["cloze"])
    kept = sum(text in pair.positive for pair in pairs)
    assert len({pair.anchor for pair in pairs}) == 2  # the third is too short
    assert 150 < kept < 250


def test_a_sentence_that_the_rest_repeats_is_no_anchor(monkeypatch):
    monkeypatch.setattr(cloze_module, "_KEPT", 0.0)
    repeated = "It is said that all is well."
    once = "But nobody has ever looked at that."
    (pair,) = make([CorpusDocument("d", "", f"{repeated} {once} {repeated.upper()}")], ["cloze"])
    assert pair.anchor == once


@settings(deadline=None)
@given(corpora())
def test_both_parts_are_in_the_document_and_have_the_right_length(documents):
    contents = [document.content for document in documents]
    for pair in make(documents, ["crop"]):
        assert any(pair.anchor in content and pair.positive in content for content in contents)
        limit = max(len(content.split()) for content in contents)
        for part in (pair.anchor, pair.positive):
            assert 5 <= len(part.split()) <= max(5, min(limit, 256) // 2)


def test_parts_of_a_long_document_lie_within_256_words():
    text = " ".join(str(number) for number in range(10_000))
    pairs = make([CorpusDocument(f"d{i}", "", text) for i in range(50)], ["crop"])
    for pair in pairs:
        numbers = [int(word) for part in (pair.anchor, pair.positive) for word in part.split()]
        assert max(numbers) - min(numbers) < 256
    assert max(len(pair.anchor.split()) for pair in pairs) > 80
    assert max(int(pair.anchor.split()[0]) for pair in pairs) > 5_000


@settings(deadline=None)
@given(corpora(), st.randoms(use_true_random=False), st.integers(0, 3))
def test_a_document_keeps_its_pairs_wherever_it_stands(documents, random, seed):
    methods = ["title", "cloze", "crop"]
    texts_of = lambda pairs: {(p.source, p.anchor, p.positive) for p in pairs}  # noqa: E731
    whole = make(documents, methods, seed)
    assert whole == make(documents, methods, seed)
    shuffled = random.sample(documents, len(documents))
    digest = lambda found: {(s, normalized(a), normalized(p)) for s, a, p in found}  # noqa: E731
    assert digest(texts_of(make(shuffled, methods, seed))) == digest(texts_of(whole))
    half = documents[: len(documents) // 2]
    assert texts_of(make(half, methods, seed)) <= texts_of(whole)


def test_another_seed_draws_other_pairs():
    text = " ".join(f"Sentence number {i} is about something else." for i in range(30))
    documents = [CorpusDocument(f"d{i}", f"Title {i}", text) for i in range(20)]
    for method in ("cloze", "crop"):
        assert make(documents, [method], 1) != make(documents, [method], 2)
    assert make(documents, ["title"], 1) == make(documents, ["title"], 2)


def test_what_is_drawn_is_the_same_on_every_machine():
    text = " ".join(f"Sentence number {i} is about something else." for i in range(30))
    cloze, crop = make([CorpusDocument("d", "Title", text)], ["cloze", "crop"])
    assert (cloze.source, crop.source) == ("cloze", "crop")
    assert cloze.anchor == "Sentence number 7 is about something else."
    assert crop.anchor.startswith("something else. Sentence number 9 is about")


def test_several_methods_give_a_pair_each_and_short_documents_are_counted():
    documents = [
        CorpusDocument(
            "1", "Title", "A sentence with enough words in it. " * 2 + "And another one, also long."
        ),
        CorpusDocument("2", "Short", "Too short."),
    ]
    counts = PairCounts()
    pairs = list(pairs_from_corpus(documents, counts, methods=["crop", "title"]))
    assert [(pair.source, pair.anchor == "Title") for pair in pairs][:2] == [("crop", False), ("title", True)]
    assert counts == PairCounts(pairs=3, too_short=1)


@pytest.mark.parametrize("methods", [[], ["title", "title"], ["titles"]])
def test_methods_that_cannot_be_are_refused_at_once(methods):
    with pytest.raises(ConfigurationError, match="expected any of title, cloze, crop"):
        pairs_from_corpus([], PairCounts(), methods=methods)
