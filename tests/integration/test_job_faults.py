"""Jobs that are killed, servers that pause, die and refuse: the index ends as an undisturbed one."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch import OpenSearchIndex, index_documents, patience
from cl_haystack.opensearch.indexing.first_load import RECORD_KEY
from tests.fault_proxy import FaultProxy
from tests.indexing_job import documents
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import OLDEST, on_every_version, with_oldest_long

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]
COUNT = 1_000
REPOSITORY = Path(__file__).parents[2]


def contents(index: OpenSearchIndex) -> dict[str, Any]:
    index.refresh()
    body = {"query": {"match_all": {}}, "size": 10_000}
    hits = index.connection.client().search(index=index.name, body=body)["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def settings_of(index: OpenSearchIndex) -> tuple[str | None, str, bool]:
    """Refresh interval, replicas, and whether a first load is on record."""
    entry = index.connection.client().indices.get(index=index.name)[index.name]
    settings = entry["settings"]["index"]
    recorded = RECORD_KEY in entry["mappings"]["_meta"]
    return settings.get("refresh_interval"), settings["number_of_replicas"], recorded


def job(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.indexing_job", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, problems = process.communicate(timeout=120)
    assert process.returncode == 0, problems
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    return report


@pytest.fixture
def calm(make_index: MakeIndex, index_name: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """Contents of an index that nothing disturbed."""
    index = make_index(name=f"{index_name}-calm")

    def fill(**options: Any) -> dict[str, Any]:
        index_documents(documents(COUNT, **options), index, WordEncoder(tiny_bundle()))
        return contents(index)

    yield fill
    index.delete()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("opensearch_url", "policy", "from_index"),
    [
        ("newest", "OVERWRITE", False),
        pytest.param("newest", "FAIL", False, marks=pytest.mark.long),
        pytest.param(OLDEST, "OVERWRITE", True, marks=pytest.mark.long),
    ],
    indirect=["opensearch_url"],
)
def test_a_job_killed_again_and_again_ends_in_the_undisturbed_index(
    make_index: MakeIndex,
    calm: Any,
    opensearch_url: str,
    index_name: str,
    tmp_path: Path,
    policy: str,
    from_index: bool,
) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201  (to repeat a failure)
    chance = random.Random(seed)
    log, journal = tmp_path / "embedded.txt", tmp_path / "journal"
    expected = calm(repeated=policy == "OVERWRITE" and not from_index)
    source = f"{index_name}-calm" if from_index else COUNT
    arguments = [opensearch_url, index_name, policy, source, log, *([journal] if policy == "FAIL" else [])]
    index = make_index()
    kills = 0
    while kills < 3:
        process = job(*arguments)
        started = 0 if not log.exists() else log.stat().st_size
        while process.poll() is None and (not log.exists() or log.stat().st_size == started):
            time.sleep(0.005)  # until it works
        time.sleep(chance.uniform(0, 0.25))
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
    assert kills >= 2
    report = result(job(*arguments))
    assert contents(index) == expected
    assert report["read"] == COUNT == report["written"] + report["skipped"] + report["rejected"]
    assert settings_of(index) == (None, "0", False)
    assert not journal.exists()
    if policy == "FAIL":
        assert report["written"] == COUNT
        assert report["resumed"] > 0
        # A kill costs at most what was not confirmed: the window in the encoder and those in the queues.
        assert len(log.read_text().splitlines()) <= COUNT + 200 * kills
    again = result(job(*arguments)) if policy == "OVERWRITE" else None
    if again is not None:
        assert again["skipped"] + again["written"] == COUNT
        assert again["embedded"] < COUNT / 10  # only ids that come twice


def test_sigterm_and_exceptions_restore_the_settings(
    make_index: MakeIndex, opensearch_url: str, index_name: str, tmp_path: Path
) -> None:
    index = make_index(settings={"number_of_replicas": 0, "extra_settings": {"refresh_interval": "7s"}})
    index.create()
    log = tmp_path / "embedded.txt"
    process = job(opensearch_url, index_name, "OVERWRITE", 20_000, log)
    until = time.monotonic() + 60
    while settings_of(index)[0] != "-1":
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    assert settings_of(index) == ("-1", "0", True)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert settings_of(index) == ("7s", "0", False)


@on_every_version
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_settings_are_lowered_in_a_first_load_alone_and_come_back(
    make_index: MakeIndex, error: type[BaseException]
) -> None:
    index = make_index(settings={"number_of_replicas": 1})
    seen: list[tuple[str | None, str, bool]] = []

    def stream(*, fails: bool) -> Iterator[Document]:
        yield from documents(60, repeated=False)
        seen.append(settings_of(index))
        if fails:
            raise error

    encoder = WordEncoder(tiny_bundle())
    with pytest.raises(error):
        index_documents(stream(fails=True), index, encoder, window_size=20, drop_replicas=True)
    assert seen.pop() == ("-1", "0", True)
    assert settings_of(index) == (None, "1", False)
    index.refresh()
    index_documents(stream(fails=False), index, encoder, window_size=20)
    assert seen.pop() == (None, "1", False)  # not empty, so people may be searching it


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


@on_every_version
def test_a_journal_tells_its_own_documents_from_those_of_others(
    make_index: MakeIndex, tmp_path: Path
) -> None:
    """FAIL: what the first run wrote is no duplicate; what was there before, or came meanwhile, is one."""
    index = make_index()
    encoder = WordEncoder(tiny_bundle())
    journal = tmp_path / "journal"
    options: dict[str, Any] = {"policy": DuplicatePolicy.FAIL, "window_size": 10, "journal": journal}

    def stream() -> Iterator[Document]:
        yield from documents(25, repeated=False)
        time.sleep(0.5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_documents(stream(), index, encoder, **options)
    encoder.encoded.clear()
    report = index_documents(documents(40, repeated=False), index, encoder, **options)
    assert (report.read, report.written, report.resumed) == (40, 40, 20)
    assert encoder.encoded == [f"text number {number}" for number in range(20, 40)]
    with pytest.raises(DuplicateDocumentError):
        index_documents(documents(40, repeated=False), index, encoder, **options)
    with pytest.raises(IndexingError, match=r"another job.*policy: 'FAIL' there, 'SKIP' now"):
        index_documents([], index, encoder, **{**options, "policy": DuplicatePolicy.SKIP})
    journal.write_text("no journal, whatever it is, but long enough to be looked at")
    with pytest.raises(IndexingError, match="no journal"):
        index_documents([], index, encoder, **options)


def test_an_input_that_has_changed_is_worked_on_again(make_index: MakeIndex, tmp_path: Path) -> None:
    index = make_index()
    encoder = WordEncoder(tiny_bundle())
    options: dict[str, Any] = {"window_size": 10, "journal": tmp_path / "journal"}

    def first() -> Iterator[Document]:
        yield from documents(20, repeated=False)
        time.sleep(0.5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_documents(first(), index, encoder, **options)
    changed = [Document(id="d3", content="changed"), *documents(20, repeated=False)][:20]
    report = index_documents(changed, index, encoder, **options)
    assert report.read == report.written + report.skipped == 20
    assert contents(index)["d3"]["content"] == "text number 3"  # comes later in the input, and wins


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
