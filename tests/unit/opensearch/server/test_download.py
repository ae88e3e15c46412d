"""The download against a small Maven repository on loopback, chosen as a user would: by a mirror."""

import gc
import hashlib
import io
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from cl_haystack.errors import DownloadError, LocalServerError
from cl_haystack.opensearch.server import fetch
from cl_haystack.opensearch.server.download import install, megabytes
from cl_haystack.opensearch.server.lock import Artifact, Jar, ServerLock
from cl_haystack.progress import Progress

# jgo 3.2.0 leaves the connection of a 404 to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SETTINGS = """<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror>
<id>mine</id><mirrorOf>central</mirrorOf><url>{url}</url></mirror></mirrors></settings>"""


@dataclass
class Repository:
    """A Maven repository in memory: what it holds, what it was asked for, and how often it breaks off."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    break_off: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, content: bytes, packaging: str = "jar") -> Artifact:
        self.files[f"/org/example/{name}/1.0/{name}-1.0.{packaging}"] = content
        return Artifact(
            coordinate=f"org.example:{name}:{packaging}:1.0",
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
        )


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    repository = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = repository.files.get(self.path)
            repository.asked[self.path] += 1
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if repository.break_off[self.path] > 0:
                repository.break_off[self.path] -= 1
                content = (content or b"")[:10]
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        repository.url = f"http://127.0.0.1:{server.server_address[1]}"
        settings = tmp_path / "home" / ".m2" / "settings.xml"
        settings.parent.mkdir(parents=True)
        settings.write_text(SETTINGS.format(url=repository.url), encoding="utf-8")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        for name in ("XDG_CONFIG_HOME", "JGO_CONFIG_FILE", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield repository
        server.shutdown()
    gc.collect()


def lock_of(*artifacts: Artifact) -> ServerLock:
    return ServerLock(
        format=1, version="9.9.9", java_minimum=21, plugins_as="info", plugins=(), artifacts=artifacts
    )


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".download.lock"}


def test_files_arrive_once_and_are_not_fetched_again(repository: Repository, tmp_path: Path) -> None:
    lock = lock_of(*(repository.add(f"lib{number}", bytes([number]) * 1000) for number in range(20)))
    reports: list[Progress] = []
    paths = install(lock, folder=tmp_path / "jars", on_progress=reports.append)
    assert [path.read_bytes() for path in paths] == [bytes([number]) * 1000 for number in range(20)]
    assert names_in(tmp_path / "jars") == {f"lib{number}-1.0.jar" for number in range(20)}
    assert reports[-1].done == reports[-1].total == 1
    asked = repository.asked.copy()
    assert install(lock, folder=tmp_path / "jars") == paths
    assert repository.asked == asked


def test_a_wrong_hash_is_refused_by_name_and_not_kept(repository: Repository, tmp_path: Path) -> None:
    good = repository.add("good", b"as locked")
    locked = repository.add("bad", b"what was locked")
    repository.add("bad", b"something else")
    with pytest.raises(LocalServerError) as caught:
        install(lock_of(good, locked), folder=tmp_path / "jars")
    message = str(caught.value)
    assert "org.example:bad:jar:1.0" in message
    assert hashlib.sha256(b"something else").hexdigest() in message
    assert locked.sha256 in message
    assert not isinstance(caught.value, DownloadError), "tests must not be skipped because of it"
    assert "bad-1.0.jar" not in names_in(tmp_path / "jars")
    assert not any(name.startswith(".part-") for name in names_in(tmp_path / "jars"))


def test_an_interrupted_download_goes_on_with_what_is_missing(repository: Repository, tmp_path: Path) -> None:
    present, missing = repository.add("present", b"1" * 99), repository.add("missing", b"2" * 99)
    content = repository.files.pop("/org/example/missing/1.0/missing-1.0.jar")
    with pytest.raises(DownloadError, match=r"org\.example:missing:jar:1\.0: cannot be downloaded"):
        install(lock_of(present, missing), folder=tmp_path / "jars")
    assert names_in(tmp_path / "jars") <= {"present-1.0.jar"}
    install(lock_of(present), folder=tmp_path / "jars")
    repository.files["/org/example/missing/1.0/missing-1.0.jar"] = content
    repository.asked.clear()
    install(lock_of(present, missing), folder=tmp_path / "jars")
    assert names_in(tmp_path / "jars") == {"present-1.0.jar", "missing-1.0.jar"}
    assert not any("present" in path for path in repository.asked)


def test_a_connection_that_breaks_off_is_tried_again(repository: Repository, tmp_path: Path) -> None:
    artifact = repository.add("flaky", b"x" * 5000)
    path = "/org/example/flaky/1.0/flaky-1.0.jar"
    repository.break_off[path] = 2
    assert install(lock_of(artifact), folder=tmp_path / "jars")[0].read_bytes() == b"x" * 5000
    assert repository.asked[path] == 3


def test_a_connection_that_always_breaks_off_leaves_no_half_file(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "ATTEMPTS", 2)
    artifact = repository.add("flaky", b"x" * 5000)
    repository.break_off["/org/example/flaky/1.0/flaky-1.0.jar"] = 99
    with pytest.raises(DownloadError, match="flaky"):
        install(lock_of(artifact), folder=tmp_path / "jars")
    assert names_in(tmp_path / "jars") == set()


def test_a_damaged_file_of_the_cache_is_fetched_again(repository: Repository, tmp_path: Path) -> None:
    artifact = repository.add("lib", b"y" * 100)
    (path,) = install(lock_of(artifact), folder=tmp_path / "jars")
    path.write_bytes(b"z" * 100)
    install(lock_of(artifact), folder=tmp_path / "jars")
    assert path.read_bytes() == b"y" * 100


def test_of_a_zip_only_the_locked_jars_are_kept(repository: Repository, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("plugin-1.0.jar", b"plugin")
        archive.writestr("already-there-2.0.jar", b"double")
        archive.writestr("../escape.jar", b"evil")
    jar = Jar(name="plugin-1.0.jar", sha256=hashlib.sha256(b"plugin").hexdigest(), size=6)
    artifact = repository.add("plugin", buffer.getvalue(), "zip").model_copy(update={"jars": (jar,)})
    assert install(lock_of(artifact), folder=tmp_path / "jars") == [tmp_path / "jars" / "plugin-1.0.jar"]
    assert names_in(tmp_path / "jars") == {"plugin-1.0.jar"}


def test_a_second_process_waits_for_the_first_and_fetches_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    artifact = repository.add("lib", b"y" * 100)
    folder = tmp_path / "jars"
    folder.mkdir()
    waiting = threading.Event()
    with FileLock(folder / ".download.lock"):
        worker = threading.Thread(
            target=install,
            args=(lock_of(artifact),),
            kwargs={"folder": folder, "on_progress": lambda progress: waiting.set()},
        )
        worker.start()
        assert waiting.wait(10), "it does not say that it waits"
        (folder / "lib-1.0.jar").write_bytes(b"y" * 100)  # what the first process would do
    worker.join(10)
    assert not worker.is_alive()
    assert not repository.asked


def test_leftovers_of_a_killed_download_are_removed(repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "jars"
    (folder / ".part-dead").mkdir(parents=True)
    (folder / ".part-dead" / "half.jar").write_bytes(b"half")
    install(lock_of(repository.add("lib", b"y")), folder=folder)
    assert names_in(folder) == {"lib-1.0.jar"}


def test_progress_is_complete_only_at_the_end() -> None:
    assert megabytes(0, 2_500_000) == Progress(0, 3, "MB")
    assert megabytes(2_500_000, 2_500_000) == Progress(3, 3, "MB")
