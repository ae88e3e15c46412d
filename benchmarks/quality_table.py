"""The table of the README, made of the files that quality.py wrote and of nothing else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cl_haystack.evaluation import Interval, paired_bootstrap
from cl_haystack.evaluation.pair_metrics import average_precision, spearman
from cl_haystack.evaluation.report import points
from cl_haystack.evaluation.significance import Floats, Statistic, bootstrap_statistic

BEGIN, END = "<!-- quality: python benchmarks/quality.py DATA -->", "<!-- /quality -->"
COLUMNS = {
    "plain": "in-batch negatives alone",
    "pairs": "the pairs alone",
    "negatives": "+ negatives from the corpus",
    "documents": "+ pairs made of the documents",
    "peer": "sentence-transformers",
}
_TITLES = {
    "scifact": "SciFact, nDCG@10",
    "scifact-clean": "SciFact without near-duplicates of test claims, nDCG@10",
    "python-docs": "Python's docs, questions to modules that no pair is from, nDCG@10",
    "banking77": "BANKING77 duplicates, average precision",
    "stsb": "STS-B, CoSENT, Spearman",
}
_STATISTICS: Mapping[str, Statistic] = {"grades": spearman, "labels": average_precision}
_MISSING = "–"  # noqa: RUF001  (a dash, as tables have it)
Record = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """The finished cells of a data set.

    :param base: the base model's record, which names the views or holds the pairs' truth.
    :param cells: records by side and size, one a seed.
    """

    base: Record
    cells: Mapping[tuple[str, int], Sequence[Record]]


def read(folder: Path) -> dict[str, Results]:
    """Read the finished cells, by data set; one without its base model cannot be compared and is left out.

    :param folder: what quality.py wrote.
    :returns: results by name of the data set.
    """
    bases: dict[str, Record] = {}
    cells: dict[str, dict[tuple[str, int], list[Record]]] = {}
    for file in sorted(folder.glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["side"] == "base":
            bases[record["dataset"]] = record
        else:
            by_side = cells.setdefault(record["dataset"], {})
            by_side.setdefault((record["side"], record["size"]), []).append(record)
    return {name: Results(base, cells.get(name, {})) for name, base in bases.items()}


def render(folder: Path) -> str:
    """Make the table.

    :param folder: what quality.py wrote.
    :returns: Markdown: one row a view and size; a cell is the mean over seeds, the gain over the base model
        in points and its 95 % interval, over queries or pairs; a dash where no cell is finished.
    """
    found = read(folder)
    names = [name for name in _TITLES if name in found] + sorted(found.keys() - _TITLES.keys())
    lines = [
        f"| asked, metric | trained on | seeds | base | {' | '.join(COLUMNS.values())} | ours against it |",
        "|---" * (5 + len(COLUMNS)) + "|",
    ]
    for name in names:
        results = found[name]
        sizes = sorted({size for _, size in results.cells})
        for view in results.base.get("views", {"all": None}):
            lines += [_row(name, results, view, size) for size in sizes]
    return "\n".join(lines)


def replace(readme: Path, table: str) -> None:
    """Put the table between its marks.

    :param readme: the file.
    :param table: Markdown.
    """
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"{readme} has no lines {BEGIN} and {END} to put the table between")
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _row(name: str, results: Results, view: str, size: int) -> str:
    compared = partial(_difference, results.base, view)
    sides = {side: results.cells[side, size] for side in COLUMNS if (side, size) in results.cells}
    shown = [_cell(compared(sides[side], None)) if side in sides else _MISSING for side in COLUMNS]
    ours = next((sides[side] for side in ("negatives", "pairs") if side in sides), None)
    against = _MISSING
    if ours and "peer" in sides:
        against = _points(compared(ours, sides["peer"])[1])
    seeds = sorted({len(records) for records in sides.values()})
    part = "" if view == "all" else f": {view}"
    base = _mean(results.base, view, [results.base])
    trained_on = f"{size:,} pairs" if size else "documents alone"
    counts = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    cells = [_TITLES.get(name, name) + part, trained_on, counts, f"{base:.3f}", *shown, against]
    return f"| {' | '.join(cells)} |"


def _cell(value: tuple[float, Interval]) -> str:
    mean, difference = value
    return f"{mean:.3f}, {_points(difference)}"


def _points(difference: Interval) -> str:
    return f"{points(difference.mean)} [{points(difference.low)}, {points(difference.high)}]"


def _mean(base: Record, view: str, records: Sequence[Record]) -> float:
    if "views" in base:
        return float(np.mean(_per_query(base, view, records)))
    statistic, truth = _truth(base)
    return float(np.mean([statistic(_scores(record), truth) for record in records]))


def _difference(
    base: Record, view: str, records: Sequence[Record], others: Sequence[Record] | None
) -> tuple[float, Interval]:
    """Return the mean over seeds, and its difference to the other records' or to the base model's."""
    others = others or [base]
    mean = _mean(base, view, records)
    if "views" in base:
        values = _per_query(base, view, records), _per_query(base, view, others)
        return mean, paired_bootstrap(*(list(value) for value in values))
    statistic, truth = _truth(base)

    def difference(*columns: Floats) -> float:
        *scores, resampled = columns
        ours, theirs = scores[: len(records)], scores[len(records) :]
        return float(
            np.mean([statistic(one, resampled) for one in ours])
            - np.mean([statistic(one, resampled) for one in theirs])
        )

    return mean, bootstrap_statistic(difference, [*map(_scores, records), *map(_scores, others), truth])


def _per_query(base: Record, view: str, records: Sequence[Record]) -> Floats:
    """Return the mean over seeds of each query of a view."""
    task = "control" if view == "control" else "test"
    queries = base["views"][view]
    return np.mean([[record["values"][task][query] for query in queries] for record in records], axis=0)


def _truth(base: Record) -> tuple[Statistic, Floats]:
    kind = next(kind for kind in _STATISTICS if kind in base["truth"])
    return _STATISTICS[kind], np.asarray(base["truth"][kind], dtype=np.float64)


def _scores(record: Record) -> Floats:
    return np.asarray(record["values"]["test"], dtype=np.float64)
