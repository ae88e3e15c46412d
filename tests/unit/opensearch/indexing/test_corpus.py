"""A corpus with lines that are no documents, as the input of a job."""

import itertools
from pathlib import Path

import orjson

from cl_haystack.data.corpus import read_corpus_lines
from cl_haystack.data.corpus_parts import read_part_lines, split_corpus
from cl_haystack.data.lines import json_lines
from cl_haystack.opensearch.documents import UnwritableDocument
from cl_haystack.opensearch.indexing.corpus import with_broken_lines

RECORDS = [
    {"_id": "1", "text": 5, "keep": "me"},
    {"text": "no id, precious"},
    {"_id": "2", "text": "ok"},
    {"_id": "2", "title": "second", "text": "version, precious", "metadata": {"year": 3}, "more": [1]},
]


def written(folder: Path) -> Path:
    path = folder / "corpus.jsonl"
    path.write_bytes(b"\n".join([*map(orjson.dumps, RECORDS), b"broken \xff", b'["no object"]']))
    return path


def test_what_is_no_document_stands_in_its_place_with_all_that_was_there(tmp_path: Path) -> None:
    found = list(with_broken_lines(read_corpus_lines(written(tmp_path))))
    broken = {document.id: document for document in found if isinstance(document, UnwritableDocument)}
    assert [document.id for document in found] == [
        *("corpus.jsonl:1", "corpus.jsonl:2", "2", "corpus.jsonl:4", "corpus.jsonl:5", "corpus.jsonl:6")
    ]
    kept = {line: orjson.loads(broken[f"corpus.jsonl:{line}"].content or "") for line in (1, 2, 4)}
    assert (kept[1], kept[2]) == (RECORDS[0], RECORDS[1])
    assert kept[4] == {
        "_id": "2",
        "title": "second",
        "text": "version, precious",
        "metadata": {"year": 3, "more": [1]},
    }
    assert broken["corpus.jsonl:5"].content == "broken \ufffd\n"
    problems = [document.problem for document in broken.values()]
    assert "'text' is '5'" in problems[0]
    assert "no '_id'" in problems[1]
    assert "'2' is there a second time" in problems[2]
    assert "0xff" in problems[3]
    assert "one JSON object on each line" in problems[4]


def test_parts_of_a_corpus_give_the_same(tmp_path: Path) -> None:
    path = written(tmp_path)
    parts = [read_part_lines(part) for part in split_corpus(path, part_bytes=50)]
    assert len(parts) > 2
    found = list(with_broken_lines(itertools.chain.from_iterable(parts)))
    whole = list(with_broken_lines(read_corpus_lines(path, unique_ids=False)))
    assert [(document.id, document.content) for document in found] == [
        (document.id, document.content) for document in whole
    ]


def test_broken_lines_without_end_are_never_held() -> None:
    endless = ((number, b"a,line,of,a,table\n") for number in itertools.count(1))
    lines = (found for _, found in json_lines(endless, Path("table.csv")))
    assert next(with_broken_lines(lines)).id == "table.csv:1"  # type: ignore[arg-type]
