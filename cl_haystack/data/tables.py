"""Pairs out of a table with two columns of texts: questions and answers, duplicates, graded sentence pairs.

Which columns are meant is told, or guessed from their names where these leave no doubt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cl_haystack.data.lines import OnFault
from cl_haystack.data.reading import read_field_names, read_records
from cl_haystack.data.records import Pair, time_text
from cl_haystack.errors import DataError, quote

# In the order in which they are tried; the first that a table has is taken.
_PAIRS_OF_NAMES: tuple[tuple[str, str], ...] = (
    ("anchor", "positive"),
    ("question", "answer"),
    ("query", "document"),
    ("query", "passage"),
    ("query", "text"),
    ("question1", "question2"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("title", "body"),
    ("title", "text"),
    ("premise", "hypothesis"),
)
_LABELS = ("label", "is_duplicate", "duplicate")
_SCORES = ("score", "similarity")
_JSONL = (".jsonl", ".ndjson")
_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
"""What a label may be, in any case."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.

    :param anchor: name of the column of anchors.
    :param positive: name of the column of texts that belong to them.
    :param label: name of the column of labels, 0 or 1; None where there is none.
    :param score: name of the column of grades; None where there is none.
    :param topic: name of the column that tells what a row is about; None where there is none.
    :param time: name of the column that tells when a row was made; None where there is none.
    """

    anchor: str
    positive: str
    label: str | None = None
    score: str | None = None
    topic: str | None = None
    time: str | None = None


@dataclass
class TableCounts:
    """What became of the rows of a table; filled while pairs are drawn.

    :param pairs: pairs made.
    :param without_text: skipped: a text is empty.
    :param unreadable: skipped: a row that cannot be read, or has another label or grade than expected.
    """

    pairs: int = 0
    without_text: int = 0
    unreadable: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def guess_columns(names: Sequence[str], path: Path) -> Columns:
    """Guess which columns hold what, by their names, case aside.

    :param names: the names of all columns.
    :param path: the table, for the message.
    :returns: the columns.
    :raises DataError: no two names leave no doubt.
    """
    known = {name.strip().casefold(): name for name in names}
    for anchor, positive in _PAIRS_OF_NAMES:
        if anchor in known and positive in known:
            label = next((known[name] for name in _LABELS if name in known), None)
            score = next((known[name] for name in _SCORES if name in known), None)
            return Columns(known[anchor], known[positive], label, None if label else score)
    examples = ", ".join(f"{one}/{other}" for one, other in _PAIRS_OF_NAMES[:5])
    raise DataError(
        f"found the columns {quote(', '.join(names))}, of which none are known to belong together (such as "
        f"{examples}): name the two",
        path=path,
    )


def pairs_from_table(
    path: str | Path,
    counts: TableCounts,
    *,
    columns: Columns | None = None,
    max_score: float = 1.0,
    on_fault: OnFault | None = None,
) -> Iterator[Pair]:
    """Make a pair of each row of a CSV, TSV, Parquet or JSONL file.

    :param path: the file; CSV and TSV need a header.
    :param counts: where the counts go.
    :param columns: which columns hold what; None guesses.
    :param max_score: the highest grade of the scale, which becomes 1.
    :param on_fault: told each row that cannot be used; None only counts it.
    :returns: the pairs, each with the file's name as ``source``.
    :raises DataError: the file as a whole cannot be read, or lacks a column.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    names = _column_names(path)
    chosen = columns or guess_columns(names, path)
    for name in asdict(chosen).values():
        if name is not None and name not in names:
            raise DataError(f"no column {quote(name)}; it has {', '.join(names)}", path=path)

    def skip(fault: DataError, line: bytes) -> None:
        counts.unreadable += 1
        if on_fault is not None:
            on_fault(fault, line)

    return _pairs(path, counts, chosen, max_score, skip)


def _column_names(path: Path) -> list[str]:
    if path.suffix.lower() not in _JSONL:
        return read_field_names(path)
    # Each record has its own fields, and the first one's may be fewer: a label that it lacks is one.
    records = read_records(path, lambda fault, line: None)
    names = dict.fromkeys(name for _, record in records for name in record)
    if not names:
        raise DataError("the file holds no record", path=path)
    return list(names)


def _pairs(
    path: Path, counts: TableCounts, columns: Columns, max_score: float, skip: OnFault
) -> Iterator[Pair]:
    for line, record in read_records(path, skip):
        anchor, positive = (_text(record.get(name)) for name in (columns.anchor, columns.positive))
        if not anchor or not positive:
            counts.without_text += 1
            continue
        try:
            label = None if columns.label is None else _label(record.get(columns.label))
            score = None if columns.score is None else _score(record.get(columns.score), max_score)
            topic = None if columns.topic is None else _topic(record.get(columns.topic))
            time = None if columns.time is None else time_text(record.get(columns.time))
        except ValueError as error:
            skip(DataError(str(error), path=path, line=line), b"")
            continue
        counts.pairs += 1
        yield Pair(
            anchor=anchor,
            positive=positive,
            label=label,
            score=score,
            topic=topic,
            time=time,
            source=path.name,
        )


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _topic(value: Any) -> str | None:
    """Return the topic as text: tables may hold the numbers of classes; a row without one has none."""
    return None if value is None else str(value).strip() or None


def _label(value: Any) -> int:
    if value is None:
        raise ValueError("there is no label; expected 0 or 1")
    text = str(value).strip().casefold()
    if text in _TRUE:
        return 1
    if text in _FALSE:
        return 0
    raise ValueError(f"label is {quote(str(value))}; expected 0 or 1")


def _score(value: Any, max_score: float) -> float:
    try:
        score = float(value) / max_score
    except (TypeError, ValueError):
        score = float("nan")
    if not 0 <= score <= 1:
        raise ValueError(f"score is {quote(str(value))}; expected a number from 0 to {max_score:g}")
    return score
