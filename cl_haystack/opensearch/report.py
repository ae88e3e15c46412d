"""What became of the documents of an indexing job: counts that add up, and every refusal with its reason."""

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from haystack import Document

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.bulk import Outcome, Rejection

MAX_REPORTED_REJECTIONS = 20


@dataclass(frozen=True, slots=True)
class IndexingReport:
    """The end of a job. ``read == written + skipped + rejected``.

    :param index: name of the index or alias.
    :param read: documents taken from the input.
    :param skipped: documents that were there already (DuplicatePolicy.SKIP).
    :param embedded: documents whose text was embedded.
    :param without_text: documents written without a vector, because there is nothing to embed: found by
        their id, their meta and never by a vector search.
    :param written: documents that the server confirmed.
    :param rejected: documents refused for good.
    :param retries: bulk requests that were repeated.
    :param seconds: ``embed``, ``write`` (at the same time), ``refresh`` and ``total``.
    :param rejections: the first refused documents and the reasons.
    :param dead_letters: the file that holds all refused documents, if there is one.
    """

    index: str
    read: int
    skipped: int
    embedded: int
    without_text: int
    written: int
    rejected: int
    retries: int
    seconds: dict[str, float]
    rejections: tuple[Rejection, ...] = ()
    dead_letters: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain types, for JSON."""
        return {
            "index": self.index,
            "read": self.read,
            "skipped": self.skipped,
            "embedded": self.embedded,
            "without_text": self.without_text,
            "written": self.written,
            "rejected": self.rejected,
            "retries": self.retries,
            "seconds": self.seconds,
            "rejections": [
                {"id": rejection.id, "reason": rejection.reason, "status": rejection.status}
                for rejection in self.rejections
            ],
            "dead_letters": None if self.dead_letters is None else str(self.dead_letters),
        }


@dataclass(slots=True)
class Ledger:
    """Running counts of a job, from two threads."""

    read: int = 0
    skipped: int = 0
    embedded: int = 0
    without_text: int = 0
    written: int = 0
    rejected: int = 0
    retries: int = 0
    write_seconds: float = 0.0
    rejections: list[Rejection] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: Outcome, seconds: float) -> None:
        """Count what became of one chunk."""
        with self._lock:
            self.written += outcome.written
            self.skipped += outcome.skipped
            self.retries += outcome.retries
            self.write_seconds += seconds
        for rejection in outcome.rejections:
            self.reject(rejection)

    def skip(self, count: int) -> None:
        """Count documents that were there already."""
        with self._lock:
            self.skipped += count

    def reject(self, rejection: Rejection) -> None:
        """Count one refused document."""
        with self._lock:
            self.rejected += 1
            if len(self.rejections) < MAX_REPORTED_REJECTIONS:
                self.rejections.append(rejection)


class DeadLetters:
    """The file that keeps refused documents: one JSON object a line, appended, never overwritten.

    Fields: ``time``, ``index``, ``id``, ``reason``, ``status``, ``document``. Without a path nothing is kept.

    :param path: the file; its folder must exist.
    :param index: name of the index, for the lines.
    """

    def __init__(self, path: Path | None, index: str) -> None:
        self._path = path
        self._index = index
        self._lock = threading.Lock()

    def __enter__(self) -> "DeadLetters":
        if self._path is not None:
            try:  # found out now, not after an hour
                with self._path.open("a", encoding="ascii"):
                    pass
            except OSError as error:
                raise IndexingError(
                    f"{self._path}: cannot be written ({error.strerror}); choose another dead-letter file"
                ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Touched at the start; a file without a line would look like a result.
        if self._path is not None and self._path.exists() and self._path.stat().st_size == 0:
            self._path.unlink()

    def add(self, rejection: Rejection, document: Document) -> None:
        """Append one refused document, whatever is in it."""
        if self._path is None:
            return
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "index": self._index,
            "id": rejection.id,
            "reason": rejection.reason,
            "status": rejection.status,
        }
        try:
            # The standard library and ASCII: a document may be here because it is no valid Unicode.
            content = {"id": document.id, "content": document.content, "meta": document.meta}
            line = json.dumps({**entry, "document": content}, default=repr, skipkeys=True)
        except (TypeError, ValueError, RecursionError) as error:
            line = json.dumps({**entry, "document": None, "unwritable": type(error).__name__})
        with self._lock, self._path.open("a", encoding="ascii") as file:
            file.write(line + "\n")
