"""What became of the documents of an indexing job: counts that add up, and every refusal with its reason."""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from haystack import Document
from haystack.dataclasses import ByteStream

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.indexing.bulk import Outcome, Rejection

MAX_REPORTED_REJECTIONS = 20
MAX_REPORTED_DUPLICATES = 10


@dataclass(frozen=True, slots=True)
class IndexingReport:
    """The end of a job. ``read == written + skipped + rejected``.

    :param index: name of the index or alias.
    :param read: documents taken from the input.
    :param skipped: documents that were there already: unchanged (OVERWRITE), or at all (SKIP).
    :param embedded: documents whose text was embedded.
    :param without_text: documents written without a vector, because there is nothing to embed: found by
        their id, their meta and never by a vector search.
    :param written: documents that the server confirmed.
    :param rejected: documents refused for good.
    :param retries: bulk requests that were repeated.
    :param resumed: documents among those read that an earlier run of the job had done with, by its journal.
    :param seconds: ``embed``, ``write`` (at the same time, added up over the streams), ``refresh`` (with
        force-merge) and ``total``; of this run alone.
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
    resumed: int = 0
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
            "resumed": self.resumed,
            "seconds": self.seconds,
            "rejections": [
                {"id": rejection.id, "reason": rejection.reason, "status": rejection.status}
                for rejection in self.rejections
            ],
            "dead_letters": None if self.dead_letters is None else str(self.dead_letters),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "IndexingReport":
        """Return the report that :meth:`to_dict` wrote."""
        rejections = tuple(Rejection(**rejection) for rejection in data["rejections"])
        dead_letters = None if data["dead_letters"] is None else Path(data["dead_letters"])
        return cls(**{**data, "rejections": rejections, "dead_letters": dead_letters})


_SUMMED = ("read", "skipped", "embedded", "without_text", "written", "rejected", "retries", "resumed")


def add_reports(
    index: str, reports: Sequence[IndexingReport], seconds: dict[str, float], dead_letters: Path | None
) -> IndexingReport:
    """Return one report of a job whose parts were worked on apart.

    :param index: name of the index.
    :param reports: of the parts.
    :param seconds: of the whole, in place of the parts' of these names; the others are added up.
    :param dead_letters: the file that holds all refused documents, if there is one.
    :returns: the sums, and the first refused documents.
    """
    counts = {name: sum(getattr(report, name) for report in reports) for name in _SUMMED}
    parts = {name: sum(report.seconds[name] for report in reports) for name in ("embed", "write")}
    rejections = [rejection for report in reports for rejection in report.rejections]
    return IndexingReport(
        index=index,
        **counts,
        seconds={**parts, **seconds},
        rejections=tuple(rejections[:MAX_REPORTED_REJECTIONS]),
        dead_letters=dead_letters if counts["rejected"] else None,
    )


@dataclass(slots=True)
class Counts:
    """What became of a part of the input; the names are those of the report.

    ``duplicates``: documents that were there already, which FAIL and NONE take for an error.
    """

    read: int = 0
    skipped: int = 0
    embedded: int = 0
    without_text: int = 0
    written: int = 0
    rejected: int = 0
    duplicates: int = 0
    retries: int = 0
    resumed: int = 0
    write_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class WindowReport:
    """The end of a window, as the journal keeps it.

    :param counts: what became of its documents.
    :param rejections: the first refused ones and the reasons.
    :param duplicates: ids of the first duplicates.
    :param dead_letters: the file that holds all refused ones, if there is one.
    """

    counts: Counts
    rejections: list[Rejection]
    duplicates: list[str]
    dead_letters: str | None

    def to_json(self) -> str:
        """Return the report as text; ids need not be valid Unicode."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "WindowReport":
        """Return the report that :meth:`to_json` wrote."""
        data = json.loads(text)
        rejections = [Rejection(**rejection) for rejection in data["rejections"]]
        return cls(**{**data, "counts": Counts(**data["counts"]), "rejections": rejections})


class Ledger:
    """Running counts, from several threads; those of a window are also counted in the job's.

    :param whole: the ledger that this one is a part of.
    """

    def __init__(self, whole: "Ledger | None" = None) -> None:
        self.counts = Counts()
        self.rejections: list[Rejection] = []  # the first ones
        self.duplicates: list[str] = []  # the first ones
        self._whole = whole
        self._lock = threading.Lock()

    def count(self, **more: float) -> None:
        """Add to the counts of these names."""
        with self._lock:
            for name, number in more.items():
                setattr(self.counts, name, getattr(self.counts, name) + number)
        if self._whole is not None:
            self._whole.count(**more)

    def add(self, outcome: Outcome, seconds: float) -> None:
        """Count what became of one chunk."""
        self.count(
            written=outcome.written,
            skipped=outcome.skipped,
            rejected=len(outcome.rejections),
            duplicates=len(outcome.duplicates),
            retries=outcome.retries,
            write_seconds=seconds,
        )
        self._keep_first(outcome.rejections, outcome.duplicates)

    def reject(self, rejection: Rejection) -> None:
        """Count one refused document."""
        self.count(rejected=1)
        self._keep_first([rejection], [])

    def resume(self, earlier: WindowReport) -> None:
        """Count what an earlier run did."""
        counts = earlier.counts
        self.count(**{**asdict(counts), "resumed": counts.read, "write_seconds": 0.0})
        self._keep_first(earlier.rejections, earlier.duplicates)

    def _keep_first(self, rejections: Sequence[Rejection], duplicates: Sequence[str]) -> None:
        with self._lock:
            self.rejections += rejections[: MAX_REPORTED_REJECTIONS - len(self.rejections)]
            self.duplicates += duplicates[: MAX_REPORTED_DUPLICATES - len(self.duplicates)]
        if self._whole is not None:
            self._whole._keep_first(rejections, duplicates)


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

    @property
    def name(self) -> str | None:
        """The file by a name that is the same for every working directory; None keeps nothing."""
        return None if self._path is None else str(self._path.absolute())

    def sync(self) -> None:
        """Return once what was added so far would outlast the machine."""
        if self._path is not None:
            with self._lock, self._path.open("a", encoding="ascii") as file:
                os.fsync(file.fileno())

    def append(self, lines: str) -> None:
        """Append what another file of this kind held."""
        if self._path is not None and lines:
            with self._lock, self._path.open("a", encoding="ascii") as file:
                file.write(lines)

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
            for name in ("embedding", "blob"):
                if (value := getattr(document, name)) is not None:
                    content[name] = value
            line = json.dumps({**entry, "document": content}, default=_plain, skipkeys=True)
        except (TypeError, ValueError, RecursionError) as error:
            line = json.dumps({**entry, "document": None, "unwritable": type(error).__name__})
        with self._lock, self._path.open("a", encoding="ascii") as file:
            file.write(line + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value.to_dict() if isinstance(value, ByteStream) else repr(value)
