"""Jobs that are killed or raise: settings come back, and the next run ends in the undisturbed index."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.indexing.journal import Journal
from tests.index_state import contents, settings_of
from tests.indexing_job import COUNT, documents
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import OLDEST, on_every_version

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]
REPOSITORY = Path(__file__).parents[2]


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


@pytest.fixture
def windows_done(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released with each window that a journal knows to be done."""
    done, end = threading.Semaphore(0), Journal.end

    def counted(self: Journal, *given: Any) -> None:
        end(self, *given)
        done.release()

    monkeypatch.setattr(Journal, "end", counted)
    return done


def interrupted(count: int, windows_done: threading.Semaphore) -> Iterator[Document]:
    """Documents, and Ctrl-C when two windows of them are done."""
    yield from documents(count, repeated=False)
    assert all(windows_done.acquire(timeout=60) for _ in range(2))
    raise KeyboardInterrupt


@on_every_version
def test_a_journal_tells_its_own_documents_from_those_of_others(
    make_index: MakeIndex, tmp_path: Path, windows_done: threading.Semaphore
) -> None:
    """FAIL: what the first run wrote is no duplicate; what was there before, or came meanwhile, is one."""
    index = make_index()
    encoder = WordEncoder(tiny_bundle())
    journal = tmp_path / "journal"
    options: dict[str, Any] = {"policy": DuplicatePolicy.FAIL, "window_size": 10, "journal": journal}

    with pytest.raises(KeyboardInterrupt):
        index_documents(interrupted(25, windows_done), index, encoder, **options)
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


def test_an_input_that_has_changed_is_worked_on_again(
    make_index: MakeIndex, tmp_path: Path, windows_done: threading.Semaphore
) -> None:
    index = make_index()
    encoder = WordEncoder(tiny_bundle())
    options: dict[str, Any] = {"window_size": 10, "journal": tmp_path / "journal"}

    with pytest.raises(KeyboardInterrupt):
        index_documents(interrupted(20, windows_done), index, encoder, **options)
    changed = [Document(id="d3", content="changed"), *documents(20, repeated=False)][:20]
    report = index_documents(changed, index, encoder, **options)
    assert report.read == report.written + report.skipped == 20
    assert contents(index)["d3"]["content"] == "text number 3"  # comes later in the input, and wins
