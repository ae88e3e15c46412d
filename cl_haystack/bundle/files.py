"""The files of a bundle: which there are, how large they may be, and that they are files."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cl_haystack.bundle.manifest import (
    LICENSE_FILE,
    MANIFEST_FILE,
    MODEL_CARD_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
)
from cl_haystack.errors import BundleError

MAX_BYTES: Mapping[str, int] = {
    MANIFEST_FILE: 1_000_000,  # export writes a few kilobytes
    MODEL_FILE: 2**31 - 1,  # protobuf's limit on one message; what is larger needs external data
    TOKENIZER_FILE: 100_000_000,  # vocabularies of 250,000 tokens take 20 to 35 MB
    MODEL_CARD_FILE: 1_000_000,
    LICENSE_FILE: 1_000_000,
}

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular_size(directory: Path, name: str) -> int:
    """Return the size of a file in bytes, after making sure that it is safe to open.

    A link is followed only within the directory: mounted configurations are made of such links.

    :param directory: the bundle.
    :param name: one of the names in :data:`MAX_BYTES`.
    :returns: the size in bytes.
    :raises BundleError: the file is missing, too large, no regular file, or a link that leads out.
    """
    file = directory / name
    if not os.path.lexists(file):
        raise BundleError(file, "is missing from the bundle; copy or export the bundle again")
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(directory)):
        raise BundleError(file, "is a link that leads out of the bundle; refused: copy the file itself there")
    if not file.exists():
        raise BundleError(file, "is a link to nothing; copy or export the bundle again")
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise BundleError(file, f"is {kind}, expected a regular file; copy or export the bundle again")
    if status.st_size > MAX_BYTES[name]:
        raise BundleError(
            file, f"has {status.st_size:,} bytes, at most {MAX_BYTES[name]:,} are allowed; this is no {name}"
        )
    return status.st_size
