from cl_haystack.data import (
    CorpusDocument,
    Pair,
    PairCounts,
    RetrievalTask,
    pairs_from_corpus,
    pairs_from_qrels,
)


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
        Pair(anchor="Title", positive="Body", source="title"),
        Pair(anchor="Title", positive="Another body", source="title"),
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
        Pair(anchor="what?", positive="T x", source="set/train"),
        Pair(anchor="why?", positive="y", source="set/train"),
    ]
    assert counts == PairCounts(pairs=2, duplicates=1, without_text=1, missing_documents=1, not_relevant=1)
    assert sum(counts.as_dict().values()) == 6
