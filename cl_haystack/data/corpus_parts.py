"""A corpus in parts that several machines read at once, each only its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cl_haystack.data.corpus import Found, corpus_lines
from cl_haystack.data.lines import is_utf16, json_lines, read_lines, refuse, without_broken
from cl_haystack.data.reading import PARQUET, read_row_groups, row_groups
from cl_haystack.data.records import CorpusDocument
from cl_haystack.errors import DataError


@dataclass(frozen=True, slots=True)
class CorpusPart:
    """A part of one file.

    :param path: the file, JSONL or Parquet; every machine finds it there.
    :param start: its first byte; of a Parquet file, its first row group.
    :param end: behind its last byte, or row group.
    :param first_line: number of its first line or row, from 1, for messages.
    :param num_documents: lines or rows in it; blank lines count.
    """

    path: str
    start: int
    end: int
    first_line: int
    num_documents: int


def split_corpus(path: str | Path, part_bytes: int) -> list[CorpusPart]:
    """Cut a corpus into parts of about a size, at ends of lines or of row groups.

    :param path: a JSONL or Parquet file, as ``read_corpus`` takes.
    :param part_bytes: a part is closed once it is as large as this.
    :returns: the parts, in order; together they are the file.
    :raises DataError: the file cannot be read.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    sizes: Iterable[tuple[int, int, int]]  # steps, bytes, documents
    if path.suffix == PARQUET:
        sizes = ((1, size, rows) for rows, size in row_groups(path))
    else:
        sizes = ((len(line), len(line), 1) for line in _raw_lines(path))
    parts: list[CorpusPart] = []
    start = end = size = documents = 0
    first_line = 1
    for steps, num_bytes, num_documents in sizes:
        end, size, documents = end + steps, size + num_bytes, documents + num_documents
        if size >= part_bytes:
            parts.append(CorpusPart(str(path), start, end, first_line, documents))
            start, size, first_line, documents = end, 0, first_line + documents, 0
    if end > start:
        parts.append(CorpusPart(str(path), start, end, first_line, documents))
    return parts


def read_part(part: CorpusPart) -> Iterator[CorpusDocument]:
    """Read the documents of a part; that their ids differ is not checked.

    :param part: the part.
    :returns: the documents.
    :raises DataError: the file is gone, or a line or row is no document.
    """
    return (document for _, document in without_broken(_read(part), refuse))


def read_part_lines(part: CorpusPart) -> Iterator[Found]:
    """Read a part like :func:`read_part`, lines that are no documents included.

    :param part: the part.
    :returns: the documents, and in its place each line that is none.
    :raises DataError: the file is gone.
    """
    return (found for _, found in _read(part))


def _read(part: CorpusPart) -> Iterator[tuple[int, Found]]:
    path = Path(part.path)
    if path.suffix != PARQUET:
        return corpus_lines(json_lines(_lines_of(part, path), path), path)
    rows = read_row_groups(path, range(part.start, part.end))
    return corpus_lines(((part.first_line + number - 1, record) for number, record in rows), path)


def _raw_lines(path: Path) -> Iterator[bytes]:
    next(read_lines(path), None)  # says what is wrong with the file
    if is_utf16(path):
        raise DataError("found UTF-16, which is not read in parts; save the file as UTF-8", path=path)
    with path.open("rb") as file:
        yield from file


def _lines_of(part: CorpusPart, path: Path) -> Iterator[tuple[int, bytes]]:
    if part.start == 0:
        yield from _until(read_lines(path), part.num_documents)
        return
    with path.open("rb") as file:
        file.seek(part.start)
        yield from _until(enumerate(file, start=part.first_line), part.num_documents)


def _until(lines: Iterator[tuple[int, bytes]], count: int) -> Iterator[tuple[int, bytes]]:
    for _, line in zip(range(count), lines, strict=False):
        yield line
