"""Texts of evaluation data among pairs: found in whatever variant, as an anchor or as a negative."""

import json
from pathlib import Path

from cl_haystack.data import Pair, RetrievalTask
from cl_haystack.data.curation import Kind
from tests.unit.data.checking import check, lines_with


def make_task(folder: Path, queries: dict[str, str], document: str) -> RetrievalTask:
    """Return queries that all have one relevant document."""
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "d", "title": "", "text": document}))
    return RetrievalTask("task", folder / "corpus.jsonl", 1, queries, {query: {"d": 1} for query in queries})


def test_a_query_that_leaked_in_very_many_variants_is_found_in_all_of_them(tmp_path):
    query = "Interleukin treatment lowers mortality among hospital patients"
    task = make_task(tmp_path, {"q": query}, "The document.")
    places = [place for place in range(len(query)) if query[place - 1 : place + 2].isalpha()]
    variants = [query[:place] + letter + query[place:] for place in places for letter in "xq"]
    # Each is the same as all others, and rows of candidates are longer than what is looked at of others.
    pairs = [Pair(anchor=text, positive=f"answer number {line}") for line, text in enumerate(variants)]
    _, found = check(pairs, tmp_path, task=task)
    assert len(variants) > 80
    assert lines_with(found, Kind.EVAL_QUERY) == set(range(1, len(pairs) + 1))


def test_evaluation_texts_among_negatives_are_told(tmp_path):
    query, document = "Which drug lowers the mortality of patients?", "The relevant document speaks of it."
    task = make_task(tmp_path, {"q": query, "other": "Nobody has asked this before."}, document)
    texts = ("Another text, which is right.", document, query.lower().replace("drug", "durg"))
    pairs = [
        Pair(anchor=f"question {line} of many", positive=f"its answer {line}", negatives=(text,))
        for line, text in enumerate(texts)
    ]
    report, found = check(pairs, tmp_path, task=task)
    assert found == {2: {"eval-document"}, 3: {"eval-query"}}
    assert report.examples["eval-query"][0].detail == "query q as a negative"
    assert (report.evaluation["repeated_queries"], report.evaluation["seen_documents"]) == (1, 0)
