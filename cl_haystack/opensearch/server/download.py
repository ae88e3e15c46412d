"""Bring the jars of a version into the user's cache.

A file reaches its final name only after its hash is right, so what is in the cache under that name is whole.
An interrupted download therefore goes on with the files that are missing. Two processes exclude each other.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from cl_haystack.opensearch.server.fetch import PART_PREFIX, Fetcher
from cl_haystack.opensearch.server.lock import Artifact, ServerLock
from cl_haystack.progress import OnProgress, Progress, ignore

logger = logging.getLogger(__name__)

# Many small files: more threads hide the round trips (93 files, 79 MB).
THREADS = 8
REPORT_INTERVAL_S = 0.25
MEGABYTE = 1_000_000


def cache_folder(version: str) -> Path:
    """Return the folder of the user's cache that holds the jars of an OpenSearch version."""
    return user_cache_path("cl-haystack", appauthor=False) / "opensearch" / version


def install(lock: ServerLock, *, on_progress: OnProgress = ignore, folder: Path | None = None) -> list[Path]:
    """Make sure that every jar of a version is in the cache.

    :param lock: what the version consists of.
    :param on_progress: told megabytes; not called when nothing is missing.
    :param folder: where the jars go; default: the cache of this user.
    :returns: the class path.
    :raises LocalServerError: a file cannot be fetched, or is not the one that was locked.
    """
    folder = folder or cache_folder(lock.version)
    if missing_artifacts(lock, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / ".download.lock", on_progress):
            missing = missing_artifacts(lock, folder)  # another process may have fetched them meanwhile
            if missing:
                remove_leftovers(folder)
                fetch_all(lock, missing, folder, on_progress)
    return [folder / jar.name for jar in lock.class_path]


def missing_artifacts(lock: ServerLock, folder: Path) -> list[Artifact]:
    """Return the artifacts of which a jar is not in the folder, or not the one that was locked."""
    return [
        artifact
        for artifact in lock.artifacts
        if not all(jar.is_at(folder / jar.name) for jar in artifact.class_path)
    ]


@contextmanager
def exclusive(path: Path, on_progress: OnProgress) -> Iterator[None]:
    """Keep other processes from downloading the same files meanwhile; say so when one does already."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_progress(Progress(0, None, "another process downloads the same files: waiting for it"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed download has left half done."""
    for path in folder.glob(f"{PART_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def fetch_all(lock: ServerLock, missing: list[Artifact], folder: Path, on_progress: OnProgress) -> None:
    """Fetch artifacts in parallel, largest first so that the last one to end is a small one."""
    total = sum(artifact.size for artifact in lock.artifacts)
    present = total - sum(artifact.size for artifact in missing)
    logger.info("downloading %d files of OpenSearch %s to %s", len(missing), lock.version, folder)
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=PART_PREFIX) as scratch,
        ThreadPoolExecutor(THREADS, thread_name_prefix="download") as pool,
    ):
        fetcher = Fetcher(Path(scratch), folder)
        largest_first = sorted(missing, key=lambda artifact: artifact.size, reverse=True)
        tasks = {pool.submit(fetcher.fetch, artifact) for artifact in largest_first}
        try:
            for task in finished(tasks):
                if task is not None:
                    task.result()
                on_progress(megabytes(present + fetcher.received_bytes, total))
        finally:  # after a failure or Ctrl-C, what runs ends at its next block and what waits never begins
            fetcher.cancel()
            pool.shutdown(wait=True, cancel_futures=True)


def finished(tasks: set[Future[None]]) -> Iterator[Future[None] | None]:
    """Yield tasks as they finish, and None now and then, so that progress and Ctrl-C get their turn."""
    while tasks:
        done, tasks = wait(tasks, timeout=REPORT_INTERVAL_S, return_when=FIRST_COMPLETED)
        yield from done or [None]


def megabytes(done: int, total: int) -> Progress:
    """Report bytes as whole megabytes, the last one complete."""
    return Progress(-(-done // MEGABYTE), -(-total // MEGABYTE), "MB")
