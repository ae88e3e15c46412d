"""Whole jobs against a server in memory: what is refused, what is there already, what a journal keeps."""

import json
from pathlib import Path
from typing import Any

import pytest
from haystack import Document

from cl_haystack.errors import RejectedDocumentsError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.indexing.jobs import index_documents
from cl_haystack.opensearch.indexing.report import IndexingReport
from tests.opensearch_fakes import MemoryServer, WordEncoder, tiny_bundle


def index_into(server: MemoryServer, documents: Any, **options: Any) -> IndexingReport:
    index = OpenSearchIndex(server, "docs", tiny_bundle(), require_binding=False)
    return index_documents(documents, index, WordEncoder(tiny_bundle()), **options)


def corpus(count: int) -> list[Document]:
    return [Document(id=f"d{number}", content=f"text number {number}") for number in range(count)]


WRONG_TYPES = [
    Document(id=7, content="a number as id"),  # type: ignore[arg-type]
    Document(id="meta", content="x", meta=None),  # type: ignore[arg-type]
    Document(id="blob", content="x", blob="y"),  # type: ignore[arg-type]
    Document(id="routing", content="x", meta={"_routing": ["a"]}),
    Document(id="scalar", content="x", embedding=5.0),  # type: ignore[arg-type]
]


def test_a_document_of_wrong_types_is_refused_and_the_others_are_written(tmp_path: Path) -> None:
    server, file = MemoryServer(), tmp_path / "dead.jsonl"
    content = Document(id="content")
    vars(content)["content"] = 5  # which its constructor refuses
    documents = [*corpus(3), *WRONG_TYPES, content, *corpus(5)[3:]]
    report = index_into(server, documents, dead_letters=file)
    assert (report.read, report.written, report.rejected) == (11, 5, 6)
    assert set(server.documents) == {document.id for document in corpus(5)}
    letters = [json.loads(line) for line in file.read_text().splitlines()]
    assert [letter["id"] for letter in letters] == ["7", "meta", "blob", "routing", "scalar", "content"]
    assert "not a list of numbers" in letters[4]["reason"]
    with pytest.raises(RejectedDocumentsError, match=r"'7': id is of type int, expected a text"):
        index_into(server, documents)
