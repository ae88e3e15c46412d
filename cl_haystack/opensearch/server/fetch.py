"""Fetch one file of a Maven repository, prove that it is the locked one, and store its jars.

The client is ``jgo``. It writes straight to the final name of its own cache and trusts what it finds there,
so it gets a scratch cache that nobody else reads; a file leaves that only after its hash is right.
"""

import hashlib
import io
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cl_haystack.errors import DownloadError, LocalServerError, MissingExtraError
from cl_haystack.opensearch.server.lock import Artifact, Jar
from cl_haystack.opensearch.server.mirrors import remote_repositories

PART_PREFIX = ".part-"
TIMEOUT_S = 60
ATTEMPTS = 3


class CancelledError(Exception):
    """The download was given up while this file was on its way."""


class Fetcher:
    """Fetches files, from several threads at once.

    :param scratch: an empty folder for files on their way.
    :param folder: where verified jars go.
    """

    def __init__(self, scratch: Path, folder: Path) -> None:
        self._folder = folder
        self._received: dict[str, int] = {}
        self._cancelled = threading.Event()
        self._context = maven_context(scratch, self._count)

    @property
    def received_bytes(self) -> int:
        """How much has arrived so far, of all files together."""
        return sum(list(self._received.values()))

    def cancel(self) -> None:
        """Make what is on its way stop at its next block."""
        self._cancelled.set()

    def fetch(self, artifact: Artifact) -> None:
        """Fetch, verify and store one artifact.

        :param artifact: what to fetch.
        :raises DownloadError: it cannot be fetched.
        :raises LocalServerError: it is not the file that was locked.
        """
        content = self._download(artifact)
        found = hashlib.sha256(content).hexdigest()
        if found != artifact.sha256:
            raise LocalServerError(
                f"{artifact.coordinate}: the downloaded file has SHA-256 {found} ({len(content)} bytes), "
                f"expected {artifact.sha256} ({artifact.size} bytes); it is not kept: check the Maven "
                "repository or mirror in use, then try again"
            )
        for jar, data in jars_of(artifact, content):
            store(self._folder / jar.name, data)
        self._received[artifact.file_name] = artifact.size

    def _download(self, artifact: Artifact) -> bytes:
        """Read one artifact from the repositories, trying again when the connection fails."""
        import requests
        from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

        group, name, packaging, version = artifact.parts
        source = self._context.project(group, name).at_version(version).artifact(packaging=packaging)

        @retry(
            retry=retry_if_exception_type(requests.RequestException),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=5),
            reraise=True,
        )
        def attempt() -> bytes:
            source.cached_path.unlink(missing_ok=True)  # half a file of the attempt before
            path: Path = source.resolve()
            content = path.read_bytes()
            path.unlink()
            return content

        try:
            return attempt()
        except (requests.RequestException, OSError, RuntimeError) as error:
            raise DownloadError(
                f"{artifact.coordinate}: cannot be downloaded ({reason(error)}); expected a reachable Maven "
                "repository: check the network, HTTPS_PROXY, or the mirror in ~/.m2/settings.xml, then try "
                "again; what is downloaded already is kept"
            ) from error

    @contextmanager
    def _count(self, file_name: str, _total: int) -> Iterator[Callable[[int], None]]:
        """Count the bytes of one attempt; jgo calls this for each file."""
        self._received[file_name] = 0

        def add(received: int) -> None:
            if self._cancelled.is_set():
                raise CancelledError
            self._received[file_name] += received

        yield add


def reason(error: Exception) -> str:
    """Say in a few words why a download failed; without addresses, which may hold credentials."""
    if isinstance(error, RuntimeError):
        return "no repository has it"
    return (
        type(error).__name__ if not isinstance(error, OSError) or error.strerror is None else error.strerror
    )


def maven_context(scratch: Path, count: Callable[..., Any]) -> Any:
    """Return jgo's view of the user's repositories."""
    try:
        from jgo.maven import MavenContext, PythonResolver
    except ModuleNotFoundError as error:
        raise MissingExtraError("jgo", "local") from error
    return MavenContext(
        repo_cache=scratch,
        resolver=PythonResolver(progress_callback=count),
        remote_repos=remote_repositories(),
        timeout=TIMEOUT_S,
    )


def jars_of(artifact: Artifact, content: bytes) -> Iterator[tuple[Jar, bytes]]:
    """Yield the jars of a verified artifact with their bytes."""
    if not artifact.jars:
        yield artifact.class_path[0], content
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for jar in artifact.jars:
            yield jar, archive.read(jar.name)


def store(path: Path, content: bytes) -> None:
    """Write a file beside its name, then rename it: under its name it is always whole."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PART_PREFIX, delete=False) as file:
        draft = Path(file.name)
        try:
            file.write(content)
            file.close()
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
