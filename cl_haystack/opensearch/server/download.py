"""Bring the jars of a version into the user's cache.

A file reaches its final name only after its hash is right, so what is in the cache under that name is whole.
An interrupted download therefore goes on with the files that are missing. Two processes exclude each other.
"""

import hashlib
import logging
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_path

from cl_haystack.errors import DownloadError, LocalServerError, MissingExtraError
from cl_haystack.opensearch.server.lock import Artifact, Jar, ServerLock
from cl_haystack.progress import OnProgress, Progress, ignore

logger = logging.getLogger(__name__)

# Many small files: more threads hide the round trips (93 files, 79 MB).
THREADS = 8
TIMEOUT_S = 60
ATTEMPTS = 3


def cache_folder(version: str) -> Path:
    """Return the folder of the user's cache that holds the jars of an OpenSearch version."""
    return user_cache_path("cl-haystack", appauthor=False) / "opensearch" / version


def install(lock: ServerLock, *, on_progress: OnProgress = ignore, folder: Path | None = None) -> list[Path]:
    """Make sure that every jar of a version is in the cache.

    :param lock: what the version consists of.
    :param on_progress: told the bytes on disk; not called when nothing is missing.
    :param folder: where the jars go; default: the cache of this user.
    :returns: the class path.
    :raises LocalServerError: a file cannot be fetched, or is not the one that was locked.
    """
    folder = folder or cache_folder(lock.version)
    if missing_artifacts(lock, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".download.lock"):
            missing = missing_artifacts(lock, folder)  # another process may have fetched them meanwhile
            if missing:
                fetch_all(lock, missing, folder, on_progress)
    return [folder / jar.name for jar in lock.class_path]


def missing_artifacts(lock: ServerLock, folder: Path) -> list[Artifact]:
    """Return the artifacts of which a jar is not in the folder, or not the one that was locked."""
    return [
        artifact
        for artifact in lock.artifacts
        if not all(jar.is_at(folder / jar.name) for jar in artifact.class_path)
    ]


def fetch_all(lock: ServerLock, missing: list[Artifact], folder: Path, on_progress: OnProgress) -> None:
    """Fetch artifacts in parallel, largest first so that the last one to end is a small one."""
    total = sum(artifact.size for artifact in lock.artifacts)
    done = total - sum(artifact.size for artifact in missing)
    on_progress(Progress(done, total, f"OpenSearch {lock.version}"))
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch,
        executor() as pool,
    ):
        context = maven_context(Path(scratch))
        tasks = {
            pool.submit(fetch, context, artifact, folder): artifact
            for artifact in sorted(missing, key=lambda artifact: artifact.size, reverse=True)
        }
        for task in as_finished(tasks):
            task.result()
            done += tasks[task].size
            on_progress(Progress(done, total, tasks[task].parts[1]))


@contextmanager
def executor() -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads that drops what has not begun when the block fails."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="download")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def as_finished(tasks: Iterable[Future[None]]) -> Iterator[Future[None]]:
    """Yield tasks as they finish, waking often enough for Ctrl-C to be seen on every platform."""
    pending = set(tasks)
    while pending:
        finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        yield from finished


def maven_context(scratch: Path) -> Any:
    """Return jgo's view of the user's repositories, with a cache of its own that nothing else reads."""
    try:
        from jgo.maven import MavenContext, PythonResolver
    except ModuleNotFoundError as error:
        raise MissingExtraError("jgo", "local") from error
    from cl_haystack.opensearch.server.mirrors import remote_repositories

    return MavenContext(
        repo_cache=scratch,
        resolver=PythonResolver(),
        remote_repos=remote_repositories(),
        timeout=TIMEOUT_S,
    )


def fetch(context: Any, artifact: Artifact, folder: Path) -> None:
    """Fetch one artifact, verify it and put its jars into the folder."""
    content = download(context, artifact)
    found = hashlib.sha256(content).hexdigest()
    if found != artifact.sha256:
        raise LocalServerError(
            f"{artifact.coordinate}: the downloaded file has SHA-256 {found} ({len(content)} bytes), "
            f"expected {artifact.sha256} ({artifact.size} bytes); it is not kept: check the Maven repository or "
            "mirror in use, then try again"
        )
    for jar, data in jars_of(artifact, content):
        store(folder / jar.name, data)


def download(context: Any, artifact: Artifact) -> bytes:
    """Read one artifact from the repositories, trying again when the connection fails."""
    import requests
    from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

    group, name, packaging, version = artifact.parts
    component = context.project(group, name).at_version(version).artifact(packaging=packaging)

    @retry(
        retry=retry_if_exception_type(requests.RequestException),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.5, max=5),
        reraise=True,
    )
    def attempt() -> bytes:
        component.cached_path.unlink(missing_ok=True)  # half a file of the attempt before
        path: Path = component.resolve()
        content = path.read_bytes()
        path.unlink()
        return content

    try:
        return attempt()
    except (requests.RequestException, OSError, RuntimeError) as error:
        raise DownloadError(
            f"{artifact.coordinate}: cannot be downloaded ({type(error).__name__}); expected a reachable "
            "Maven repository: check the network, HTTPS_PROXY, or the mirror in ~/.m2/settings.xml, then try "
            "again; what is downloaded already is kept"
        ) from error


def jars_of(artifact: Artifact, content: bytes) -> Iterator[tuple[Jar, bytes]]:
    """Yield the jars of a verified artifact with their bytes."""
    if not artifact.jars:
        yield artifact.class_path[0], content
        return
    import io

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for jar in artifact.jars:
            data = archive.read(jar.name)
            assert jar.matches(data), "the lock file lists the jars of this very zip"
            yield jar, data


def store(path: Path, content: bytes) -> None:
    """Write a file beside its name, then rename it: under its name it is always whole."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
        draft = Path(file.name)
        try:
            file.write(content)
            file.close()
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
