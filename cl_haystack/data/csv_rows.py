"""Rows of CSV and TSV files. A quote that was not meant costs the row in which it stands, and no other."""

import csv
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from cl_haystack.data.lines import OnFault, read_text_lines
from cl_haystack.errors import DataError

_SEPARATORS = ",;\t"  # spreadsheets write semicolons where numbers have commas
_MAX_CELL_CHARS = min(sys.maxsize, 2**31 - 1)  # csv refuses cells above 131,072 characters unless told
_MAX_LINES = 10_000  # of one row; a quote that was not meant would else reach to the end of the file
_MANY_LINES = 8  # of which all are rows themselves: more than a text with line ends has by chance


def separator_of(path: Path) -> str:
    """Return what separates cells: a tab in TSV, in CSV what the header has most of comma, semicolon and tab.

    :param path: the file.
    :returns: the separator; a comma where there is none.
    :raises DataError: the file cannot be read.
    """
    if path.suffix.lower() == ".tsv":
        return "\t"
    _, header = next(read_text_lines(path, lambda fault, line: None), (0, ""))
    return max(_SEPARATORS, key=lambda separator: _num_cells(header, separator))


class CsvRows:
    """Reads the rows of a file that are not blank. Cells in quotes may hold line ends.

    Where a row cannot be read, its first line is the fault, and reading goes on with the line behind it.

    :param path: the file.
    :param delimiter: what separates cells.
    :param on_fault: told each line that cannot be read.
    """

    def __init__(self, path: Path, delimiter: str, on_fault: OnFault) -> None:
        csv.field_size_limit(_MAX_CELL_CHARS)
        self._path, self._delimiter, self._on_fault = path, delimiter, on_fault
        self._unread = read_text_lines(path, self._on_broken_line)
        self._again: deque[tuple[int, str]] = deque()
        self._row: list[tuple[int, str]] = []  # the lines of the row that is being read
        self._lacks_a_line = False

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line of each row, from 1, and its cells."""
        num_cells: int | None = None
        while True:
            self._row, self._lacks_a_line = [], False
            problem = None
            try:
                cells = next(csv.reader(self._lines(), delimiter=self._delimiter, strict=True), None)
            except csv.Error as error:
                problem, cells = f"{error}; check the quotes of this row", None
            if not self._row:
                return
            if self._lacks_a_line:
                text = "".join(text for _, text in self._row)
                self._refuse("a line of this row cannot be read", text)
            elif problem is not None or (problem := self._doubt(num_cells)) is not None:
                self._refuse(problem, self._row[0][1])
                self._again.extendleft(reversed(self._row[1:]))
            elif cells is not None and any(cells):
                num_cells = num_cells or len(cells)
                yield self._row[0][0], cells

    def _lines(self) -> Iterator[str]:
        while True:
            numbered = self._again.popleft() if self._again else next(self._unread, None)
            if numbered is None:
                return
            self._row.append(numbered)
            if len(self._row) > _MAX_LINES:
                raise csv.Error(f"a quote that opens here is not closed within {_MAX_LINES:,} lines")
            yield numbered[1]

    def _doubt(self, num_cells: int | None) -> str | None:
        """Tell what is wrong with a row that two quotes, neither of them meant, made of many."""
        within = self._row[1:-1]
        if len(within) < _MANY_LINES or any(
            _num_cells(text, self._delimiter) != num_cells for _, text in within
        ):
            return None
        return (
            f"a quote that opens here is closed {len(self._row) - 1} lines below, and all lines between are "
            "rows themselves; check the quotes of this row"
        )

    def _refuse(self, problem: str, text: str) -> None:
        self._on_fault(DataError(problem, path=self._path, line=self._row[0][0]), text.encode())

    def _on_broken_line(self, fault: DataError, line: bytes) -> None:
        self._lacks_a_line = bool(self._row)
        self._on_fault(fault, line)


def _num_cells(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter, strict=True)))
    except (csv.Error, StopIteration):
        return 0
