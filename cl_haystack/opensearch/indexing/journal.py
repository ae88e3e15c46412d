"""The journal of a job: which windows of its input are begun and which are done, kept in a file beside it.

The index itself remembers which documents are there unchanged, so the journal is only for what the index
cannot know: documents that were refused, documents that lie in an index without content hashes, under
DuplicatePolicy.FAIL whether a document that is there was written by the very job that is run again, and what
the report of the whole job has to count and to name. It holds one row a window, with a digest of the
documents: where the input has changed, the digest differs and the window is worked on again.

SQLite keeps the rows whole when the process or the machine dies in the middle of one.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.indexing.report import WindowReport

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS windows (number INTEGER PRIMARY KEY, digest BLOB NOT NULL, report TEXT);
"""


class Journal:
    """An open journal; without a connection it forgets everything.

    :param connection: the open file; None keeps nothing.
    """

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # windows begin in one thread and end in others

    def report_of(self, number: int, digest: bytes) -> WindowReport | None:
        """Return what became of a window in an earlier run; None if it was not done, or has changed."""
        row = self._row(number, digest)
        return None if row is None or row[0] is None else WindowReport.from_json(row[0])

    def has_begun(self, number: int, digest: bytes) -> bool:
        """Return whether an earlier run began this very window."""
        return self._row(number, digest) is not None

    def begin(self, number: int, digest: bytes) -> None:
        """Note a window before anything of it is sent."""
        self._write("INSERT OR REPLACE INTO windows VALUES (?, ?, NULL)", (number, digest))

    def end(self, number: int, report: WindowReport) -> None:
        """Note what became of a window, once each of its documents has an answer."""
        self._write("UPDATE windows SET report = ? WHERE number = ?", (report.to_json(), number))

    def _row(self, number: int, digest: bytes) -> tuple[str | None] | None:
        if self._connection is None:
            return None
        with self._lock:
            row: tuple[bytes, str | None] | None = self._connection.execute(
                "SELECT digest, report FROM windows WHERE number = ?", (number,)
            ).fetchone()
        return None if row is None or row[0] != digest else (row[1],)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        if self._connection is not None:
            with self._lock, self._connection:  # one transaction, on disk when it ends
                self._connection.execute(statement, values)


@contextmanager
def open_journal(path: Path | None, job: dict[str, str]) -> Iterator[tuple[Journal, Callable[[], None]]]:
    """Open the journal of a job, or begin one.

    :param path: the file; None keeps no journal.
    :param job: what the job is: a journal of another one is refused.
    :yields: the journal, and a function that removes it when the job has succeeded.
    :raises IndexingError: the file belongs to another job, is in use, is no journal, or the disk is full.
    """
    if path is None:
        yield Journal(None), lambda: None
        return
    try:
        connection = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    except sqlite3.Error as error:
        raise IndexingError(f"{path}: the journal cannot be opened ({error}); choose another file") from error
    with closing(connection):
        _claim(connection, path, job)
        try:
            yield Journal(connection), path.unlink
        except sqlite3.Error as error:
            raise IndexingError(
                f"{path}: the journal cannot be used ({error}); see that the disk is not full, then run "
                "the job again"
            ) from error


def _claim(connection: sqlite3.Connection, path: Path, job: dict[str, str]) -> None:
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # released with the process, however it ends
        connection.executescript("BEGIN EXCLUSIVE;" + _SCHEMA + "COMMIT;")
        found = dict(connection.execute("SELECT name, value FROM job"))
        with connection:
            connection.executemany("INSERT OR IGNORE INTO job VALUES (?, ?)", job.items())
    except sqlite3.OperationalError as error:
        raise IndexingError(
            f"{path}: the journal is used by another job, or cannot be written ({error}); wait for that "
            "job, or choose another file"
        ) from error
    except sqlite3.DatabaseError as error:
        raise IndexingError(
            f"{path}: this is no journal ({error}); choose another file, or remove it to begin anew"
        ) from error
    if different := [name for name in job if found and found.get(name) != job[name]]:
        facts = "; ".join(f"{name}: {found.get(name)!r} there, {job[name]!r} now" for name in different)
        raise IndexingError(
            f"{path}: this journal is of another job ({facts}); choose another file, or remove it "
            "to begin anew"
        )
