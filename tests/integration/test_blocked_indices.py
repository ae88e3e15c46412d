"""Indices that take no documents for a while, or until somebody acts: write blocks and full disks."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from haystack import Document

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from tests.index_state import contents, settings_of
from tests.indexing_job import COUNT, documents
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import on_every_version

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]


def blocked_at(index: OpenSearchIndex, block: str) -> Iterator[Document]:
    """Set a block in the middle of the stream."""
    for document in documents(COUNT, repeated=False):
        if document.id == "d500":
            set_block(index, block, on=True)
        yield document


def set_block(index: OpenSearchIndex, block: str, *, on: bool) -> None:
    body = {f"index.blocks.{block}": True if on else None}
    index.connection.client().indices.put_settings(index=index.name, body=body)


@pytest.mark.parametrize("block", ["write", "read_only_allow_delete"])
def test_a_block_that_stays_is_an_error_and_a_second_run_completes(
    make_index: MakeIndex, calm: Any, block: str
) -> None:
    """Where the disk is full, not even the settings can be restored before there is room again."""
    index = make_index()
    encoder = WordEncoder(tiny_bundle())
    with pytest.raises(IndexingError, match=r"takes no documents.*lift the block"):
        index_documents(blocked_at(index, block), index, encoder, window_size=100, retry_for_s=0.5)
    set_block(index, block, on=False)
    encoder.encoded.clear()
    report = index_documents(documents(COUNT, repeated=False), index, encoder)
    assert report.skipped >= 300
    assert len(encoder.encoded) == COUNT - report.skipped
    assert contents(index) == calm(repeated=False)
    assert settings_of(index)[::2] == (None, False)


@on_every_version
@pytest.mark.parametrize("block", ["write", "read_only_allow_delete"])
def test_a_block_that_is_lifted_is_waited_for(make_index: MakeIndex, block: str) -> None:
    """Somebody's write block, and what the server sets where the disk is full."""
    index = make_index()
    encoder = WordEncoder(tiny_bundle())

    def lift() -> None:
        time.sleep(1)
        set_block(index, block, on=False)

    lifting = threading.Thread(target=lift)

    def stream() -> Iterator[Document]:
        for document in blocked_at(index, block):
            if document.id == "d500":
                lifting.start()
            yield document

    report = index_documents(stream(), index, encoder, window_size=100)
    lifting.join()
    assert (report.written, report.rejected) == (COUNT, 0)
    assert report.retries >= 1
    assert len(encoder.encoded) == COUNT
    assert len(contents(index)) == COUNT


@pytest.mark.long
def test_a_disk_that_fills_up_during_a_load_is_waited_for() -> None:
    """The server's own flood stage, told that a disk with less than 100 TB left is full."""
    from cl_haystack.opensearch.server import LocalOpenSearch

    def set_watermark(free: str) -> None:
        disk = "cluster.routing.allocation.disk"
        marks = {f"{disk}.watermark.{name}": free for name in ("low", "high", "flood_stage")}
        settings = {**marks, f"{disk}.threshold_enabled": True, "cluster.info.update.interval": "10s"}
        client.cluster.put_settings(body={"transient": settings})

    def is_blocked() -> bool:
        settings = client.indices.get_settings(index=index.name)[index.name]["settings"]["index"]
        return settings.get("blocks", {}).get("read_only_allow_delete") == "true"

    def stream() -> Iterator[Document]:
        for document in documents(COUNT, repeated=False):
            if document.id == "d500":
                set_watermark("100tb")
                while not is_blocked():
                    time.sleep(0.5)
                threading.Timer(3, set_watermark, ["1kb"]).start()
            yield document

    with LocalOpenSearch(memory="512m") as server:
        index = OpenSearchIndex(server.url, "docs", tiny_bundle(), settings={"number_of_replicas": 0})
        client: Any = index.connection.client()
        report = index_documents(stream(), index, WordEncoder(tiny_bundle()), window_size=100)
        assert (report.read, report.written, report.rejected) == (COUNT, COUNT, 0)
        assert report.retries >= 1
        assert len(contents(index)) == COUNT
        assert settings_of(index) == (None, "0", False)
        index.close()
