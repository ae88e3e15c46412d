"""A job that an error ends still says what it has done."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from haystack import Document

from cl_haystack.errors import CLHaystackError, DataError, RejectedDocumentsError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.indexing.jobs import judge
from cl_haystack.opensearch.indexing.report import IndexingReport
from cl_haystack.opensearch.indexing.unfinished import ReportOnError, report_of
from cl_haystack.opensearch.indexing.writing import WritingOptions, write_documents
from cl_haystack.opensearch.patience import Patience
from tests.opensearch_fakes import WordEncoder, as_checked, tiny_bundle


class TakesEverything:
    """A client that confirms every document."""

    def __init__(self) -> None:
        self.indices = self.transport = self
        self.max_retries = 0

    def get_alias(self, index: str) -> dict[str, Any]:
        return {index: {"aliases": {}}}

    def bulk(self, *, body: bytes, index: str, params: dict[str, str]) -> dict[str, Any]:
        return {"items": [{"index": {"_index": index, "status": 201}}] * (len(body.splitlines()) // 2)}


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), DataError("broken", path="corpus.jsonl", line=4)])
def test_an_error_in_the_input_carries_the_report(problem: BaseException) -> None:
    index = as_checked(OpenSearchIndex(None, "docs", tiny_bundle()))
    index._checked_at = time.monotonic() + 1_000  # however slow the machine is
    index.connection.client = TakesEverything  # type: ignore[method-assign, assignment]

    def documents() -> Iterator[Document]:
        for number in range(3):
            yield Document(id=str(number), content="text")
            time.sleep(0.3)  # until it is written
        raise problem

    with pytest.raises(type(problem)) as caught:
        write_documents(
            documents(),
            index,
            WordEncoder(tiny_bundle()),
            WritingOptions(window_size=1),
            patience=Patience(1, threading.Event()),
        )
    report = report_of(caught.value)
    assert report is not None
    assert (report.index, report.read, report.embedded, report.written) == ("docs", 3, 3, 3)


def test_refused_documents_carry_the_report() -> None:
    report = IndexingReport("docs", 3, 0, 3, 0, 2, 1, 0, {"total": 1.0})
    with pytest.raises(RejectedDocumentsError) as caught:
        judge(report, None)
    assert report_of(caught.value) is report
    assert report_of(CLHaystackError("before it had begun")) is None


def test_an_error_after_the_last_document_carries_the_report() -> None:
    report = IndexingReport("docs", 3, 0, 3, 0, 3, 0, 0, {"total": 1.0})

    def merge_for_hours() -> None:
        with ReportOnError() as unfinished:
            unfinished.report = report
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        merge_for_hours()
    assert report_of(caught.value) is report
