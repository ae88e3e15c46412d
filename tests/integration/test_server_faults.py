"""Servers that pause, die, refuse and answer late while a job runs: the index ends as an undisturbed one."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from haystack import Document

from cl_haystack.opensearch import OpenSearchIndex, index_documents, patience
from tests.fault_proxy import FaultProxy
from tests.index_state import contents, settings_of
from tests.indexing_job import COUNT, documents
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import with_oldest_long

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]


@pytest.mark.parametrize("kind", ["429", "503"])
def test_a_server_that_says_when_to_come_back_is_left_alone_so_long(
    make_index: MakeIndex, opensearch_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.01)
    with FaultProxy(opensearch_url, random.Random(0), 1.0, kinds=[kind], retry_after="2") as proxy:
        index = make_index(client_or_url=proxy.url)
        index.ensure()

        def stream() -> Iterator[Document]:
            proxy.armed = True
            relief = threading.Timer(1, lambda: setattr(proxy, "armed", False))
            relief.start()
            yield Document(content="x")

        report = index_documents(stream(), index, WordEncoder(tiny_bundle()))
        assert report.written == 1
        assert proxy.faults == {kind: 1}  # with pauses of its own there would be many in that second


@with_oldest_long
def test_a_proxy_that_cuts_delays_and_refuses_changes_nothing(
    make_index: MakeIndex, calm: Any, opensearch_url: str
) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201  (to repeat a failure)
    encoder = WordEncoder(tiny_bundle())
    with FaultProxy(opensearch_url, random.Random(seed), share=0.25) as proxy:
        index = make_index(client_or_url=proxy.url, timeout_s=2)
        index.ensure()
        index.ensure = lambda: setattr(proxy, "armed", True)  # type: ignore[method-assign]
        report = index_documents(
            documents(COUNT, repeated=True), index, encoder, window_size=50, chunk_bytes=4_000, streams=3
        )
        proxy.armed = False
        assert set(proxy.faults) == {"cut", "late cut", "delay", "429", "503"}
        assert (report.read, report.rejected) == (COUNT, 0)
        assert report.written + report.skipped == COUNT
        assert report.retries > 5
        assert len(encoder.encoded) == COUNT
        assert contents(index) == calm(repeated=True)
        assert settings_of(index)[::2] == (None, False)


@pytest.mark.slow
def test_a_server_that_is_stopped_and_one_that_is_killed_are_waited_for(tmp_path: Path) -> None:
    from cl_haystack.opensearch.server import LocalOpenSearch

    server = LocalOpenSearch(data=tmp_path / "data", memory="512m")
    server.start()
    url = server.url
    disturbed: list[str] = []
    restarted: list[LocalOpenSearch] = []

    def disturb() -> None:
        (pid,) = server.pids
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3)
        os.kill(pid, signal.SIGCONT)
        disturbed.append("stopped")
        time.sleep(1)
        os.kill(pid, signal.SIGKILL)
        server.stop()
        again = LocalOpenSearch(data=tmp_path / "data", memory="512m", port=int(url.rpartition(":")[2]))
        again.start()
        restarted.append(again)
        disturbed.append("killed")

    def stream() -> Iterator[Document]:
        for number, document in enumerate(documents(COUNT, repeated=False)):
            if number == 300:
                worker.start()
            if number >= 300 and number % 50 == 0:
                time.sleep(0.5)
            yield document

    worker = threading.Thread(target=disturb, daemon=True)
    settings = {"number_of_replicas": 0}
    with closing(OpenSearchIndex(url, "docs", tiny_bundle(), settings=settings)) as patient:
        patient.ensure()  # which may take longer than what follows should wait for
    index = OpenSearchIndex(url, "docs", tiny_bundle(), timeout_s=1.5, settings=settings)
    try:
        encoder = WordEncoder(tiny_bundle())
        report = index_documents(stream(), index, encoder, window_size=50, chunk_bytes=4_000)
        worker.join(60)
        assert disturbed == ["stopped", "killed"]
        assert report.retries >= 1
        assert (report.read, report.written) == (COUNT, COUNT)
        assert Counter(encoder.encoded).most_common(1)[0][1] == 1
        stored = contents(index)
        assert {name: source["content"] for name, source in stored.items()} == {
            document.id: document.content for document in documents(COUNT, repeated=False)
        }
        assert settings_of(index) == (None, "0", False)
    finally:
        index.close()
        for started in restarted or [server]:
            started.stop()


@pytest.mark.long
def test_a_node_of_three_that_is_killed_during_a_load_loses_nothing(tmp_path: Path) -> None:
    """Not the node that the job talks to; its primary shards move to their replicas."""
    from cl_haystack.opensearch.server import LocalOpenSearch

    killed: list[int] = []
    with LocalOpenSearch(nodes=3) as server:
        settings = {"number_of_shards": 3, "number_of_replicas": 1}
        index = OpenSearchIndex(server.url, "docs", tiny_bundle(), timeout_s=10, settings=settings)

        def stream() -> Iterator[Document]:
            for number, document in enumerate(documents(COUNT, repeated=False)):
                if number == 400:
                    os.kill(server.pids[2], signal.SIGKILL)
                    killed.append(server.pids[2])
                yield document

        report = index_documents(
            stream(), index, WordEncoder(tiny_bundle()), window_size=50, chunk_bytes=4_000, streams=2
        )
        assert killed
        assert (report.read, report.written, report.rejected) == (COUNT, COUNT, 0)
        stored = contents(index)
        assert {name: source["content"] for name, source in stored.items()} == {
            document.id: document.content for document in documents(COUNT, repeated=False)
        }
        assert settings_of(index) == (None, "1", False)
        index.close()
