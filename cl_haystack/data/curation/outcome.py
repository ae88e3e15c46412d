"""Where the lines of a checked file go, each with what was found in it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cl_haystack.data.curation.findings import CheckReport, Example, Kind, excerpt, texts_of
from cl_haystack.data.curation.intake import Columns, Intake
from cl_haystack.data.curation.near_texts import Ids
from cl_haystack.data.curation.personal_data import find_personal_data, mask_personal_data
from cl_haystack.data.curation.plausibility import Plausibility
from cl_haystack.data.curation.relations import NONE, Mask
from cl_haystack.data.writing import write_beside

_BITS = {kind: np.uint32(1 << position) for position, kind in enumerate(Kind)}
_EARLIER = (
    Kind.CONTRADICTION,
    Kind.DUPLICATE,
    Kind.NEAR_DUPLICATE,
    Kind.PARAPHRASE,
    Kind.SIMILAR_DOCUMENT,
)
_READ_CHARS = 10_000  # of a text, for the beginning that is quoted
_QUOTED = re.compile(r"""(?<!\w)(['"])(?!\w+\1)(?:(?!\1)[^\\]|\\.)*\1""")  # not 'anchor'
_DOUBTS = (Kind.FALSE_NEGATIVE, Kind.FALSE_POSITIVE, Kind.DOUBTFUL_LABEL)


class Findings:
    """What was found, by the place of a line: 12 bytes a line, and the details that cannot be told later.

    :param columns: the lines.
    """

    def __init__(self, columns: Columns) -> None:
        self.plausibility: Plausibility | None = None
        self.known_positives: Mask = np.zeros(len(columns.negatives), dtype=bool)
        self._columns = columns
        self._kinds = np.zeros(len(columns.line), dtype=np.uint32)
        self._other = np.full(len(columns.line), NONE)
        self._details: dict[tuple[Kind, int], str] = {}

    def add(self, kind: Kind, lines: Mask) -> None:
        """Note something of all lines of a mask, ``(lines,)``."""
        self._kinds[lines] |= _BITS[kind]

    def add_places(self, kind: Kind, places: Ids) -> None:
        """Note something of the lines at some places."""
        self._kinds[places] |= _BITS[kind]

    def add_others(self, kind: Kind, others: Ids) -> None:
        """Note something of lines that have another line, ``(lines,)``."""
        lines = others != NONE
        self._kinds[lines] |= _BITS[kind]
        fresh = lines & (self._other == NONE)
        self._other[fresh] = others[fresh]

    def add_detail(self, kind: Kind, place: int, detail: str) -> None:
        """Note something of one line, in words."""
        self._kinds[place] |= _BITS[kind]
        self._details.setdefault((kind, place), detail)

    def set_known_positives(self, negatives: Mask) -> None:
        """Note which negatives are positives of their anchor, ``(negatives,)``."""
        self.known_positives = negatives
        self.add_places(Kind.KNOWN_POSITIVE, self._columns.negatives_of[negatives])

    def has(self, *kinds: Kind) -> Mask:
        """Tell in which lines one of some kinds was found, ``(lines,)``."""
        bits = np.uint32(sum(int(_BITS[kind]) for kind in kinds))
        result: Mask = (self._kinds & bits) != 0
        return result

    def kinds(self, place: int) -> list[Kind]:
        """Return what was found in a line, the worst first."""
        if not self._kinds[place]:
            return []
        return [kind for kind, bit in _BITS.items() if self._kinds[place] & bit]

    def count(self) -> dict[str, int]:
        """Return the number of lines by what was found, as far as something was."""
        counts = {kind.value: int(self.has(kind).sum()) for kind in Kind}
        return {kind: count for kind, count in counts.items() if count}

    def other_line(self, kind: Kind, place: int) -> int | None:
        """Return the number of the line that one repeats or contradicts."""
        other = int(self._other[place])
        return int(self._columns.line[other]) if kind in _EARLIER and other != NONE else None

    def detail(self, kind: Kind, place: int, record: dict[str, Any], intake: Intake) -> str:
        """Tell in a few words what exactly was found in a line."""
        if known := self._details.get((kind, place)):
            return known
        if kind is Kind.MALFORMED:
            return str(record["problem"])
        if kind is Kind.PERSONAL_DATA:  # what it is, not which: reports are passed on
            found = {name for text in texts_of(record) for name, _ in find_personal_data(text)}
            return ", ".join(sorted(found))
        if kind is Kind.LENGTH:
            return f"{len(record['anchor']):,} and {len(record['positive']):,} characters"
        if kind is Kind.LANGUAGE:
            ids = (int(self._columns.anchor[place]), int(self._columns.positive[place]))
            found = {intake.in_other_language[text] for text in ids if text in intake.in_other_language}
            return ", ".join(sorted(found))
        return self._doubt(place, record) if kind in _DOUBTS else ""

    def _doubt(self, place: int, record: dict[str, Any]) -> str:
        found = self.plausibility
        if found is None:
            return ""
        facts = [f"{name} {record[name]}" for name in ("label", "score") if name in record]
        facts.append(f"cosine {found.positive[place]:.3f}")
        if not np.isnan(found.negative[place]):
            facts.append(f"nearest negative {found.negative[place]:.3f}")
        return ", ".join([*facts, f"wrong by {found.wrong[place]:.0%}"])


def write_outcome(
    intake: Intake,
    columns: Columns,
    findings: Findings,
    drop: frozenset[Kind],
    out: Path,
    dropped: Path,
    report: CheckReport,
) -> None:
    """Write what is kept to one file, what is not to another, and count both.

    :param intake: the lines.
    :param columns: what is known of them.
    :param findings: what was found in them.
    :param drop: what a line is dropped for.
    :param out: the file of what is kept.
    :param dropped: the file of what is not: line, reasons, and the line itself.
    :param report: where counts and examples go.
    :raises DataError: a file cannot be written.
    """
    report.lines = len(columns.line)
    report.found = findings.count()
    report.drops = [kind.value for kind in Kind if kind in drop]
    first_negative = np.searchsorted(columns.negatives_of, np.arange(len(columns.line)))
    reasons_why: Counter[str] = Counter()
    with write_beside(out) as kept, write_beside(dropped) as gone:
        for place, record in enumerate(intake.lines()):
            kinds = findings.kinds(place)
            why = [kind for kind in kinds if kind in drop]
            line = int(columns.line[place])
            for kind in filter(report.wants_example, kinds):
                report.add_example(kind, _example(kind, place, record, findings, intake, line))
            if not why:
                kept.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
                report.kept += 1
                continue
            reasons_why[why[0].value] += 1
            told = {"line": line, "reasons": [_reason(kind, place, record, findings, intake) for kind in why]}
            if why == [Kind.KNOWN_POSITIVE]:
                start = first_negative[place]
                bad = findings.known_positives[start : start + len(record["negatives"])]
                repaired, removed = _without_negatives(record, bad)
                kept.write(orjson.dumps(repaired, option=orjson.OPT_APPEND_NEWLINE))
                told |= {"kept_without": removed}
                report.kept += 1
                report.repaired += 1
            else:
                report.dropped += 1
            gone.write(orjson.dumps(told | {"record": record}, option=orjson.OPT_APPEND_NEWLINE))
    report.dropped_for = dict(reasons_why)


def _reason(
    kind: Kind, place: int, record: dict[str, Any], findings: Findings, intake: Intake
) -> dict[str, Any]:
    other, detail = findings.other_line(kind, place), findings.detail(kind, place, record, intake)
    return {
        "kind": kind.value,
        **({"detail": detail} if detail else {}),
        **({"other_line": other} if other is not None else {}),
    }


def _example(
    kind: Kind, place: int, record: dict[str, Any], findings: Findings, intake: Intake, line: int
) -> Example:
    """Quote a line without its personal data: reports are passed on."""
    detail = findings.detail(kind, place, record, intake)
    other = findings.other_line(kind, place)
    if "problem" in record:
        return Example(line, _without_quotes(detail, record["found"]), _quoted(record["found"]))
    return Example(line, detail, _quoted(record["anchor"]), _quoted(record["positive"]), other)


def _quoted(text: str) -> str:
    return excerpt(mask_personal_data(text[:_READ_CHARS]))


def _without_quotes(problem: str, line: str) -> str:
    """Take out of a message what it quotes of a line with personal data, which may be cut off there."""
    return _QUOTED.sub("[...]", problem) if next(find_personal_data(line[:_READ_CHARS]), None) else problem


def _without_negatives(record: dict[str, Any], bad: Mask) -> tuple[dict[str, Any], list[str]]:
    """Return a pair without some of its negatives and their scores, and these negatives."""
    kept = [text for text, is_bad in zip(record["negatives"], bad, strict=True) if not is_bad]
    removed = [text for text, is_bad in zip(record["negatives"], bad, strict=True) if is_bad]
    repaired = {name: value for name, value in record.items() if name != "negatives"}
    if kept:
        repaired["negatives"] = kept
    if scores := record.get("candidate_scores"):
        repaired["candidate_scores"] = [scores[0]] + [
            s for s, is_bad in zip(scores[1:], bad, strict=True) if not is_bad
        ]
    return repaired, removed
