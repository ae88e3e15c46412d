"""What all nodes of a server share: a version, its jars, and a Java that runs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_haystack.opensearch.server.download import install
from cl_haystack.opensearch.server.java import Java, find_java
from cl_haystack.opensearch.server.lock import ServerLock, load_lock
from cl_haystack.progress import OnProgress


@dataclass(frozen=True)
class Runtime:
    """What all nodes of a server share.

    :param lock: the version that runs.
    :param class_path: its jars.
    :param java: the Java that runs it.
    """

    lock: ServerLock
    class_path: Sequence[Path]
    java: Java


def make_runtime(version: str, *, java_home: Path | None, on_progress: OnProgress) -> Runtime:
    """Bring together all that a node needs, and download what is missing.

    :param version: of OpenSearch.
    :param java_home: a Java to use; default: the first that will do.
    :param on_progress: told the megabytes of a first download.
    :returns: what nodes run on.
    :raises LocalServerError: there is no such version, no Java for it, or a file cannot be fetched.
    """
    lock = load_lock(version)
    java = find_java(lock.java_minimum, home=java_home)  # first: it fails at once, the download after a while
    return Runtime(lock=lock, class_path=install(lock, on_progress=on_progress), java=java)
