"""Lines of text files, numbered, decoded, and with every fault named by path and line.

Files come from spreadsheets and editors of all systems: a byte order mark, CRLF and blank lines are normal;
another encoding than UTF-8 is an error that says where.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import orjson

from cl_haystack.errors import DataError, quote

_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

OnFault = Callable[[DataError, bytes], None]
"""Told a line that cannot be used: what is wrong with it, and its bytes. Reading goes on if it returns."""


def refuse(fault: DataError, line: bytes) -> NoReturn:
    """Stop at a line that cannot be used: the default wherever data is taken for complete.

    :param fault: what is wrong, with path and line.
    :param line: its bytes.
    :raises DataError: always.
    """
    raise fault


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line of a file, line end included, without a byte order mark.

    :param path: an UTF-8 text file.
    :yields: the line's number, from 1, and its bytes.
    :raises DataError: the file cannot be opened, or is UTF-16.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number > 1:
                    yield number, line
                    continue
                if line.startswith(_UTF16_MARKS):
                    raise DataError("found UTF-16; expected UTF-8: save the file as UTF-8", path=path)
                yield number, line.removeprefix(_BOM)
    except FileNotFoundError:
        raise DataError("no such file; check the path", path=path) from None
    except IsADirectoryError:
        raise DataError("found a directory; expected a file", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def read_text_lines(path: Path, on_fault: OnFault = refuse) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a file, line end included.

    :param path: an UTF-8 text file.
    :param on_fault: told each line that is not UTF-8.
    :yields: the line's number, from 1, and its text.
    :raises DataError: the file cannot be opened, or a line is not UTF-8 and nobody wants to know.
    """
    for number, line in read_lines(path):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            on_fault(DataError(_not_utf8(error), path=path, line=number), line)
        else:
            yield number, text


def read_json_objects(path: Path, on_fault: OnFault = refuse) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and object of each line of a JSONL file; blank lines are skipped.

    :param path: a file with one JSON object on each line.
    :param on_fault: told each line that is not one JSON object.
    :yields: the line's number, from 1, and the object.
    :raises DataError: the file cannot be opened or holds no object, or a line is not one JSON object and
        nobody wants to know.
    """
    lines = (entry for entry in read_lines(path) if entry[1].strip())
    first = next(lines, None)
    if first is None:
        raise DataError("the file is empty; expected one JSON object on each line", path=path)
    yield from json_objects(chain([first], lines), path, on_fault)


def json_objects(
    lines: Iterable[tuple[int, bytes]], path: Path, on_fault: OnFault = refuse
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and object of each line; blank lines are skipped.

    :param lines: numbers and bytes, each with one JSON object.
    :param path: their file, for messages.
    :param on_fault: told each line that is not one JSON object.
    :yields: the line's number, and the object.
    :raises DataError: a line is not one JSON object and nobody wants to know.
    """
    for number, line in lines:
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            on_fault(DataError(_not_json(line, error), path=path, line=number), line)
            continue
        if isinstance(record, dict):
            yield number, record
            continue
        problem = f"found {quote(line.decode())}; expected one JSON object on each line (JSON Lines)"
        on_fault(DataError(problem, path=path, line=number), line)


def _not_utf8(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    return f"byte 0x{byte:02x} at position {error.start + 1} is not UTF-8; save the file as UTF-8"


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as undecodable:
        return _not_utf8(undecodable)
    fault = f"{error.msg} at position {error.pos + 1}"
    return f"{fault} in {quote(text)}; expected one JSON object on each line: correct or remove it"
