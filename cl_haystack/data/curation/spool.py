"""Records on disk, read again by number: what keeps a check's memory small, whatever the file's size."""

import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from cl_haystack.errors import DataError


class Spool:
    """Records in an unnamed temporary file, which vanishes with the process; 8 bytes of memory for each.

    :param folder: where the file lies; it grows as large as the data.
    :raises DataError: nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise DataError(f"cannot be written: {error.strerror or error}", path=folder) from error
        self._starts = array("q", [0])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def add(self, record: dict[str, Any]) -> int:
        """Append a record, and return its number, from 0."""
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        self._file.write(line)
        self._starts.append(self._starts[-1] + len(line))
        return len(self) - 1

    def read(self, number: int) -> dict[str, Any]:
        """Return the record with a number."""
        self._file.seek(self._starts[number])
        record: dict[str, Any] = orjson.loads(
            self._file.read(self._starts[number + 1] - self._starts[number])
        )
        return record

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        yield from map(orjson.loads, self._file)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
