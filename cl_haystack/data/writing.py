"""Files that are either complete or not there: written beside their place, then renamed into it."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import orjson

from cl_haystack.data.records import Pair
from cl_haystack.errors import DataError


@contextmanager
def write_beside(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of ``path`` when the block ends well, and vanishes otherwise.

    :param path: the file to write, or a link to it; its folder is made where it is missing.
    :yields: the open file.
    :raises DataError: the place cannot be written, or is a device or a pipe.
    """
    path = path.resolve()
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError("is no file, so none can take its place", path=path)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = beside.open("xb")
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path=path) from error
    try:
        with file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path=path) from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def write_pairs_beside(path: str | Path) -> Iterator[Callable[[Pair], None]]:
    """Open a file of pairs that takes the place of ``path`` when the block ends well.

    :param path: the file to write, ``.jsonl``.
    :yields: writes one pair: a line of JSON, without fields at their default.
    :raises DataError: the name ends otherwise, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise DataError(f"cannot write {path.suffix or 'a file without ending'}; use .jsonl", path=path)
    with write_beside(path) as file:

        def write(pair: Pair) -> None:
            file.write(orjson.dumps(pair.model_dump(exclude_defaults=True), option=orjson.OPT_APPEND_NEWLINE))

        yield write


def write_pairs(pairs: Iterable[Pair], path: str | Path) -> int:
    """Write pairs as JSONL, one a line; fields at their default are left out.

    :param pairs: any number of pairs.
    :param path: the file to write, ``.jsonl``; replaced only when all pairs are written.
    :returns: number of pairs written.
    :raises DataError: the name ends otherwise, or the file cannot be written.
    """
    count = 0
    with write_pairs_beside(path) as write:
        for pair in pairs:
            write(pair)
            count += 1
    return count
