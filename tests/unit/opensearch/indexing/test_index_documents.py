"""Whole jobs against a server in memory: what is refused, what is there already, what a journal keeps."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.errors import IndexingError, RejectedDocumentsError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.indexing.jobs import index_documents, open_for_writing
from cl_haystack.opensearch.indexing.journal import Journal
from cl_haystack.opensearch.indexing.report import DeadLetters, IndexingReport
from cl_haystack.opensearch.indexing.unfinished import report_of
from cl_haystack.opensearch.patience import Patience
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
    Document(id="huge", content="x", embedding=[10**400] * 8),
]


def test_a_document_of_wrong_types_is_refused_and_the_others_are_written(tmp_path: Path) -> None:
    server, file = MemoryServer(), tmp_path / "dead.jsonl"
    content = Document(id="content")
    vars(content)["content"] = 5  # which its constructor refuses
    documents = [*corpus(3), *WRONG_TYPES, content, *corpus(5)[3:]]
    report = index_into(server, documents, dead_letters=file)
    assert (report.read, report.written, report.rejected) == (12, 5, 7)
    assert set(server.documents) == {document.id for document in corpus(5)}
    letters = [json.loads(line) for line in file.read_text().splitlines()]
    assert [letter["id"] for letter in letters] == [
        "7",
        "meta",
        "blob",
        "routing",
        "scalar",
        "huge",
        "content",
    ]
    assert "not a list of numbers" in letters[4]["reason"]
    with pytest.raises(RejectedDocumentsError, match=r"'7': id is of type int, expected a text"):
        index_into(server, documents)


@pytest.mark.parametrize("policy", [DuplicatePolicy.FAIL, DuplicatePolicy.NONE])
def test_duplicates_are_told_once_everything_else_is_written(policy: DuplicatePolicy) -> None:
    server = MemoryServer()
    index_into(server, corpus(10)[:2])
    server.requests.clear()
    with pytest.raises(DuplicateDocumentError, match=r"2 documents are there already.*'d0', 'd1'") as caught:
        index_into(server, iter(corpus(10)), policy=policy, window_size=2, chunk_bytes=1)
    assert set(server.documents) == {document.id for document in corpus(10)}
    assert server.requests.count("POST /docs/_refresh") == 1
    report = report_of(caught.value)
    assert report is not None
    assert (report.read, report.written, report.rejected) == (10, 8, 0)


def test_a_journal_remembers_duplicates(tmp_path: Path) -> None:
    """Run again, the job must not take them for documents that it has written itself."""
    server = MemoryServer()
    index_into(server, corpus(2))
    options = {"policy": DuplicatePolicy.FAIL, "window_size": 2, "journal": tmp_path / "journal"}
    for _ in range(2):
        with pytest.raises(DuplicateDocumentError, match=r"2 documents are there already.*'d0', 'd1'"):
            index_into(server, iter(corpus(6)), **options)


def killed_after(documents: list[Document]) -> Iterator[Document]:
    yield from documents
    time.sleep(0.3)  # until all are answered
    raise KeyboardInterrupt


def test_a_resumed_job_names_what_was_refused_before_it_was_killed(tmp_path: Path) -> None:
    server = MemoryServer(rejected=["d1", "d3"])
    options: dict[str, Any] = {"window_size": 2, "journal": tmp_path / "journal"}
    documents = [*corpus(4), Document(id="\ud800", content="no Unicode"), Document(id="d5", content="x")]
    with pytest.raises(KeyboardInterrupt):
        index_into(server, killed_after(documents), **options)
    with pytest.raises(RejectedDocumentsError) as caught:
        index_into(server, iter([*documents, *corpus(8)[6:]]), **options)
    assert set(caught.value.rejections) == {"d1", "d3", "\ud800"}
    assert caught.value.count == 3
    report = report_of(caught.value)
    assert report is not None
    assert (report.read, report.written, report.resumed) == (8, 5, 6)


def test_dead_letters_hold_what_was_refused_before_they_were_asked_for(tmp_path: Path) -> None:
    """The windows are done, by the journal, but nobody kept what was refused in them."""
    server = MemoryServer(rejected=["d1"])
    options: dict[str, Any] = {"window_size": 2, "journal": tmp_path / "journal"}
    with pytest.raises(KeyboardInterrupt):
        index_into(server, killed_after(corpus(4)), **options)
    for file in (tmp_path / "first", tmp_path / "other"):
        with pytest.raises(KeyboardInterrupt):
            index_into(server, killed_after(corpus(4)), dead_letters=file, **options)
        assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ["d1"]
    report = index_into(server, iter(corpus(6)), dead_letters=tmp_path / "other", **options)
    assert (report.read, report.written + report.skipped, report.rejected, report.resumed) == (6, 5, 1, 4)
    assert len((tmp_path / "other").read_text().splitlines()) == 1


def test_letters_are_on_disk_before_the_journal_says_that_a_window_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, end = DeadLetters.sync, Journal.end
    monkeypatch.setattr(DeadLetters, "sync", lambda self: (steps.append("sync"), sync(self)))
    monkeypatch.setattr(Journal, "end", lambda self, *row: (steps.append("end"), end(self, *row)))
    files = {"dead_letters": tmp_path / "dead.jsonl", "journal": tmp_path / "journal"}
    index_into(MemoryServer(rejected=["d3"]), iter(corpus(4)), window_size=2, **files)
    assert steps == ["end", "sync", "end"]


@pytest.mark.parametrize("write_index", [None, "new"])
def test_an_alias_without_a_write_index_is_told_before_anything_is_embedded(write_index: str | None) -> None:
    aliases = {name: {"is_write_index": True} if name == write_index else {} for name in ("old", "new")}
    answer = {name: {"aliases": {"docs": entry, "other": {}}} for name, entry in aliases.items()}
    client = SimpleNamespace(indices=SimpleNamespace(get_alias=lambda index: answer))
    index: Any = SimpleNamespace(
        name="docs",
        checked=frozenset(answer),
        ensure=lambda: None,
        register_writer=lambda bundle: None,
        connection=SimpleNamespace(url="http://server", client=lambda: client),
    )
    patience = Patience(0, threading.Event())
    if write_index is not None:
        open_for_writing(index, tiny_bundle(), patience)
        return
    with pytest.raises(IndexingError, match=r"'docs'.*several indices \(new, old\).*write index"):
        open_for_writing(index, tiny_bundle(), patience)
