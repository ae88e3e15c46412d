"""Heap sizes: the default, and what this machine can give."""

import re

import psutil

from cl_haystack.errors import LocalServerError

MEMORY_OF_ONE = "1g"
MEMORY_OF_MANY = "384m"
UNITS_MB = {"m": 1, "g": 1024}
MEBIBYTE = 1024 * 1024


def heap_size(memory: str | None, nodes: int) -> str:
    """Return the Java heap of each node.

    :param memory: what was asked for, such as ``512m``; default: 1g for one node, 384m each for more.
    :param nodes: how many nodes share this machine.
    :returns: the heap size, in lower case.
    :raises LocalServerError: it is no heap size, or more than this machine has.
    """
    size = (memory or (MEMORY_OF_ONE if nodes == 1 else MEMORY_OF_MANY)).lower()
    if not re.fullmatch(r"[1-9]\d*[mg]", size):
        raise LocalServerError(
            f"memory {memory!r} is no heap size; expected a number with m or g, such as 512m or 1g"
        )
    total = psutil.virtual_memory().total // MEBIBYTE
    if megabytes(size) * nodes >= total:
        raise LocalServerError(
            f"memory {size} for {nodes} node(s) is more than the {total} MB of this machine; choose less, "
            f"such as {MEMORY_OF_MANY}, with --memory"
        )
    return size


def megabytes(size: str) -> int:
    """Return a heap size in MB."""
    return int(size[:-1]) * UNITS_MB[size[-1]]
