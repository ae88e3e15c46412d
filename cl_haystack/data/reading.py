"""Training pairs from files, one at a time: JSONL, CSV, TSV, Parquet.

The ending of the name decides the format. Whatever the format, a record becomes a dict by field name and
then a :class:`Pair`, and every fault names file and line (row, for Parquet).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from cl_haystack.data.csv_rows import CsvRows, separator_of
from cl_haystack.data.lines import OnFault, read_json_objects, refuse
from cl_haystack.data.records import KNOWN_FIELDS, Pair, parse_pair
from cl_haystack.errors import DataError, MissingExtraError, quote

PARQUET = ".parquet"
Records = Iterator[tuple[int, dict[str, Any]]]
Reader = Callable[[Path, OnFault], Records]

_LISTS = {"negatives": "texts", "candidate_scores": "numbers"}  # fields that are JSON in a cell


def read_pairs(path: str | Path) -> Iterator[Pair]:
    """Read training pairs, one at a time, in the order of the file.

    Fields: ``anchor``, ``positive``, optional ``negative`` or ``negatives``, ``score``, ``label``,
    ``source``, ``document_id``, ``topic``, ``time``, ``weight``, ``candidate_scores``. CSV (separated by
    comma, semicolon or tab) and TSV need a header; there an empty cell is an absent field, and ``negatives``
    and ``candidate_scores`` are JSON lists. Texts are kept as they are.

    :param path: a file named ``.jsonl``, ``.ndjson``, ``.csv``, ``.tsv`` or ``.parquet``.
    :returns: the pairs; the file is opened when the first is asked for.
    :raises DataError: the ending is unknown, the file is missing or empty, or a record is no pair.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    return (pair for _, pair in read_numbered_pairs(path))


def read_numbered_pairs(path: str | Path, on_fault: OnFault = refuse) -> Iterator[tuple[int, Pair]]:
    """Read training pairs like :func:`read_pairs`, with their line, and go on behind one that is none.

    :param path: a file that :func:`read_pairs` reads.
    :param on_fault: told each line that is no pair.
    :returns: the line (the row, for Parquet), from 1, and the pair.
    :raises DataError: the ending is unknown, the file is missing or empty, it cannot be read on, or a line is
        no pair and nobody wants to know.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    return _parse(_reader_of(path)(path, on_fault), path, on_fault)


def read_records(path: Path, on_fault: OnFault = refuse) -> Records:
    """Read the records of any file that pairs may be in, whatever their fields.

    :param path: a file named ``.jsonl``, ``.ndjson``, ``.csv``, ``.tsv`` or ``.parquet``.
    :param on_fault: told each line that cannot be read.
    :returns: the line (the row, for Parquet), from 1, and the record by field name; cells are texts.
    :raises DataError: the file as a whole cannot be read, or a line and nobody wants to know.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    reader = _reader_of(path)
    if reader is _read_table:
        return _read_cells(path, on_fault, separator_of(path), _check_unique)
    return reader(path, on_fault)


def read_field_names(path: Path) -> list[str]:
    """Return the names of the fields of a file: its header, or the fields of its first record.

    :param path: a file that :func:`read_records` reads.
    :returns: the names, in their order.
    :raises DataError: the file cannot be read or is empty.
    """
    first = next(read_records(path, lambda fault, line: None), None)
    if first is None:
        raise DataError("the file holds no record", path=path)
    return list(first[1])


def _reader_of(path: Path) -> Reader:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise DataError(f"unknown ending {path.suffix!r}; expected one of {known}", path=path)
    return reader


def _parse(records: Records, path: Path, on_fault: OnFault) -> Iterator[tuple[int, Pair]]:
    for line, record in records:
        try:
            pair = parse_pair(record)
        except ValueError as error:
            on_fault(DataError(str(error), path=path, line=line), orjson.dumps(record, default=str))
        else:
            yield line, pair


def _read_table(path: Path, on_fault: OnFault) -> Records:
    delimiter = separator_of(path)
    for line, cells in _read_cells(path, on_fault, delimiter, _check_header):
        try:
            record = _table_record(cells, path, line)
        except DataError as fault:
            on_fault(fault, delimiter.join(cells.values()).encode())
        else:
            yield line, record


def _read_cells(
    path: Path, on_fault: OnFault, delimiter: str, check_header: Callable[[list[str], Path, int], list[str]]
) -> Iterator[tuple[int, dict[str, str]]]:
    header: list[str] | None = None
    empty = True
    for line, cells in CsvRows(path, delimiter, on_fault):
        if header is None:
            header = check_header(cells, path, line)
            continue
        empty = False
        if len(cells) != len(header):
            problem = f"found {len(cells)} cells; expected {len(header)}, as in the header"
            fault = DataError(f"{problem}: quote cells that hold the separator", path=path, line=line)
            on_fault(fault, delimiter.join(cells).encode())
            continue
        yield line, dict(zip(header, cells, strict=True))
    if empty:
        raise DataError("the file holds no row; expected a header and one pair a row", path=path)


def _check_header(cells: list[str], path: Path, line: int) -> list[str]:
    header = [cell.strip() for cell in cells]
    known = ", ".join(KNOWN_FIELDS)
    if "anchor" not in header or "positive" not in header:
        problem = f"found the header {quote(', '.join(header))}; expected 'anchor' and 'positive' in it"
        raise DataError(f"{problem}; known fields: {known}", path=path, line=line)
    for name in header:
        if name not in KNOWN_FIELDS:
            problem = f"unknown field {quote(name)}; known fields: {known}; rename or remove the column"
            raise DataError(problem, path=path, line=line)
    return _check_unique(header, path, line)


def _check_unique(cells: list[str], path: Path, line: int) -> list[str]:
    header = [cell.strip() for cell in cells]
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"column {name!r} is there twice; remove one", path=path, line=line)
    return header


def _table_record(cells: dict[str, str], path: Path, line: int) -> dict[str, Any]:
    required = ("anchor", "positive")
    record: dict[str, Any] = {name: cell for name, cell in cells.items() if cell or name in required}
    for name in _LISTS.keys() & record.keys():
        try:
            record[name] = orjson.loads(record[name])
        except orjson.JSONDecodeError:
            problem = f"field {name!r} is {quote(record[name])}; expected a JSON list of {_LISTS[name]}"
            raise DataError(problem, path=path, line=line) from None
    return record


def row_groups(path: Path) -> list[tuple[int, int]]:
    """Return rows and bytes of each row group of a Parquet file.

    :param path: the file.
    :returns: number of rows, and bytes before compression.
    :raises DataError: the file cannot be read.
    :raises MissingExtraError: pyarrow is not installed.
    """
    with _open_parquet(path) as file:
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        return [(group.num_rows, group.total_byte_size) for group in groups]


def read_row_groups(path: Path, groups: Sequence[int] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read rows of a Parquet file.

    :param path: the file.
    :param groups: numbers of row groups, from 0; None takes all.
    :yields: the row, from 1 among those read, and the record by column name.
    :raises DataError: the file cannot be read.
    :raises MissingExtraError: pyarrow is not installed.
    """
    row = 0
    with _open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=4096, row_groups=groups):
            for record in batch.to_pylist():
                row += 1
                yield row, record


def _read_parquet(path: Path, on_fault: OnFault) -> Records:
    row = 0
    for row, record in read_row_groups(path):
        yield row, record
    if not row:
        raise DataError("the file holds no row; expected one record a row", path=path)


@contextmanager
def _open_parquet(path: Path) -> Iterator[Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "train") from None
    if not path.is_file():
        raise DataError("no such file; check the path", path=path)
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"is no readable Parquet file: {error}", path=path) from error


_READERS: dict[str, Reader] = {
    ".jsonl": read_json_objects,
    ".ndjson": read_json_objects,
    ".csv": _read_table,
    ".tsv": _read_table,
    PARQUET: _read_parquet,
}
