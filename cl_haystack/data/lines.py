"""Lines of text files, numbered, decoded, and with every fault named by path and line.

Files come from spreadsheets and editors of all systems: a byte order mark, CRLF and blank lines are normal,
and UTF-16 is read where the mark says so. Other lines that are not UTF-8 are faults: no encoding is guessed.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

import orjson

from cl_haystack.errors import DataError, quote

_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_KEEP_HALVES = "cl_haystack.keep_halves"
_NAMED = 5
_MAX_LEVELS = 250
_LINES_OF_ARRAY = "`jq -c '.[]'` makes lines of a JSON array"
_MAX_MEGABYTES = 100  # of a line: what OpenSearch takes in one request

Record = TypeVar("Record")

OnFault = Callable[[DataError, bytes], None]
"""Told a line that cannot be used: what is wrong with it, and its bytes. Reading goes on if it returns."""


def refuse(fault: DataError, line: bytes) -> NoReturn:
    """Stop at a line that cannot be used: the default wherever data is taken for complete.

    :param fault: what is wrong, with path and line.
    :param line: its bytes.
    :raises DataError: always.
    """
    raise fault


@dataclass
class Faults:
    """Lines that cannot be used, counted and the first of them named: an ``on_fault`` that goes on.

    :param count: how many there are.
    :param first: line and problem of the first ones.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def __call__(self, fault: DataError, line: bytes) -> None:
        """Note a line."""
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(
                fault.problem if fault.line is None else f"line {fault.line:,}: {fault.problem}"
            )


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """Stands in place of a record in what is read, so that many of them need not be held.

    :param fault: what is wrong with the line, with path and line.
    :param content: its bytes, or those of its record.
    """

    fault: DataError
    content: bytes


def without_broken(
    found: Iterable[tuple[int, Record | BrokenLine]], on_fault: OnFault
) -> Iterator[tuple[int, Record]]:
    """Leave lines out that cannot be used.

    :param found: numbers and what was found there.
    :param on_fault: told each line that cannot be used.
    :yields: the others.
    """
    for number, record in found:
        if isinstance(record, BrokenLine):
            on_fault(record.fault, record.content)
        else:
            yield number, record


def is_utf16(path: Path) -> bool:
    """Tell whether a file, which can be read, begins with the byte order mark of UTF-16."""
    with path.open("rb") as file:
        return file.read(2) in _UTF16_MARKS


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line of a file, line end included, without a byte order mark.

    :param path: a text file, UTF-8 or UTF-16 with its mark.
    :yields: the line's number, from 1, and its bytes, UTF-8 unless the line is broken.
    :raises DataError: the file cannot be read, or is no file of lines.
    """
    most = _MAX_MEGABYTES * 2**20
    try:
        with path.open("rb") as file:
            in_utf16 = file.peek(2)[:2] in _UTF16_MARKS
            lines = _utf16_lines(file, most) if in_utf16 else iter(partial(file.readline, most + 1), b"")
            for number, line in enumerate(lines, start=1):
                if len(line) > most:  # a JSON array may be a file of gigabytes in one line
                    raise DataError(
                        f"the line is longer than {_MAX_MEGABYTES} MB; expected one record on each line: "
                        f"{_LINES_OF_ARRAY}",
                        path=path,
                        line=number,
                    )
                yield number, line.removeprefix(_BOM) if number == 1 else line
    except FileNotFoundError:
        raise DataError("no such file; check the path", path=path) from None
    except IsADirectoryError:
        raise DataError("found a directory; expected a file", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def _utf16_lines(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Half a character, which is no text, becomes bytes that are no UTF-8: a fault of that line."""
    with TextIOWrapper(file, encoding="utf-16", errors=_KEEP_HALVES, newline="\n") as text:
        for line in iter(partial(text.readline, most + 1), ""):
            yield line.encode("utf-8", "surrogatepass")


def _keep_halves(error: UnicodeError) -> tuple[str | bytes, int]:
    """Read half a pair of surrogates as such, and one byte of two, where a file was cut off, likewise."""
    if isinstance(error, UnicodeDecodeError) and error.reason == "truncated data":
        return "\ud800", error.end
    return codecs.lookup_error("surrogatepass")(error)


codecs.register_error(_KEEP_HALVES, _keep_halves)


def read_text_lines(path: Path, on_fault: OnFault = refuse) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a file, line end included.

    :param path: a text file, UTF-8 or UTF-16 with its mark.
    :param on_fault: told each line that is neither.
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
    :returns: the line's number, from 1, and the object.
    :raises DataError: the file cannot be opened or holds no object, or a line is not one JSON object and
        nobody wants to know.
    """
    return without_broken(read_json_lines(path), on_fault)


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | BrokenLine]]:
    """Read a JSONL file like :func:`read_json_objects`, lines that are not one JSON object included.

    :param path: the file.
    :yields: the line's number, from 1, and the object or the line.
    :raises DataError: the file cannot be opened or holds no object.
    """
    lines = (entry for entry in read_lines(path) if entry[1].strip())
    first = next(lines, None)
    if first is None:
        raise DataError("the file is empty; expected one JSON object on each line", path=path)
    yield from json_lines(chain([first], lines), path)


def json_lines(
    lines: Iterable[tuple[int, bytes]], path: Path
) -> Iterator[tuple[int, dict[str, Any] | BrokenLine]]:
    """Yield number and object of each line; blank lines are skipped.

    :param lines: numbers and bytes, each with one JSON object.
    :param path: their file, for messages.
    :yields: the line's number, and the object, or the line where it is not one.
    """
    for number, line in lines:
        if not line.strip():
            continue
        found: dict[str, Any] | BrokenLine
        try:
            found = _json_object(line)
        except ValueError as error:
            found = BrokenLine(DataError(str(error), path=path, line=number), line)
        yield number, found


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(_not_json(line, error)) from None
    if _too_deep(line, record):
        raise ValueError("is nested too deep to be written again")
    if not isinstance(record, dict):
        advice = _LINES_OF_ARRAY if isinstance(record, list) else "JSON Lines"
        raise ValueError(f"found {quote(line.decode())}; expected one JSON object on each line ({advice})")
    return record


def _too_deep(line: bytes, record: Any) -> bool:
    """Tell whether orjson, which reads 1,024 levels and writes 254, would fail later."""
    if line.count(b"[") + line.count(b"{") < _MAX_LEVELS:
        return False
    try:
        orjson.dumps(record)
    except TypeError:
        return True
    return False


def _not_utf8(error: UnicodeDecodeError) -> str:
    found = error.object[error.start :]
    if b"\xed\xa0" <= found[:2] <= b"\xed\xbf":
        return f"half a character at position {error.start + 1}; the file may be cut off there"
    byte = found[0]
    return f"byte 0x{byte:02x} at position {error.start + 1} is not UTF-8; save the file as UTF-8"


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as undecodable:
        return _not_utf8(undecodable)
    fault = f"{error.msg} at position {error.pos + 1}"
    advice = _LINES_OF_ARRAY if text.startswith("[") else "correct or remove it"
    return f"{fault} in {quote(text)}; expected one JSON object on each line: {advice}"
