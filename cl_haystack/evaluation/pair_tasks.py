"""Evaluate judged pairs of texts: graded by similarity, or labelled as the same (1) and not (0).

Anchors are encoded as queries and positives as documents, as in training and in a search from one to the
other; the score of a pair is the similarity of the two vectors.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from cl_haystack.data import Pair
from cl_haystack.data.beir import Oddity, odd, odd_lines
from cl_haystack.data.lines import Faults
from cl_haystack.data.reading import read_numbered_pairs
from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.encoder.vectors import check_finite
from cl_haystack.errors import DataError
from cl_haystack.evaluation.pair_metrics import (
    average_precision,
    best_f1,
    f1_threshold,
    precision_recall,
    ranks,
    spearman,
)
from cl_haystack.evaluation.significance import (
    Comparison,
    Floats,
    Interval,
    Statistic,
    bootstrap_statistic,
    swap_p_value,
)
from cl_haystack.progress import OnProgress, Progress, ignore

GRADED_METRICS: dict[str, Statistic] = {"spearman": spearman}
LABELLED_METRICS: dict[str, Statistic] = {"average_precision": average_precision, "f1": best_f1}


@dataclass(frozen=True)
class PairTask:
    """Judged pairs.

    :param name: the file's name.
    :param path: the file.
    :param anchors: one text a pair.
    :param positives: the other; it is called positive whatever the judgement says.
    :param grades: graded similarity, 0 to 1; NaN where a pair has none.
    :param labels: 1 or 0; NaN where a pair has none.
    :param oddities: what was left out or is strange.
    """

    name: str
    path: Path
    anchors: Sequence[str]
    positives: Sequence[str]
    grades: Floats
    labels: Floats
    oddities: tuple[Oddity, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that these judgements allow."""
        graded = tuple(GRADED_METRICS) if np.isfinite(self.grades).any() else ()
        return graded + (tuple(LABELLED_METRICS) if np.isfinite(self.labels).any() else ())

    def num_judged(self, metric: str) -> int:
        """Return how many pairs have what a metric is computed of."""
        return int(np.isfinite(self.grades if metric in GRADED_METRICS else self.labels).sum())


class PairResult(BaseModel):
    """What a model gave for the pairs of a task, and how good that is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    """Name of the model."""
    task: str
    metrics: dict[str, float]
    scores: tuple[float, ...]
    """Similarity of each pair, in the task's order."""
    num_pairs: int
    seconds: float
    f1_threshold: float | None = None
    """Similarity from which on pairs are taken for duplicates where F1 is best; None without duplicates."""

    def labelled(self, task: PairTask) -> tuple[Floats, Floats]:
        """Return scores and labels of the pairs that have a label."""
        return self._judged(task.labels)

    def graded(self, task: PairTask) -> tuple[Floats, Floats]:
        """Return scores and grades of the pairs that have a grade."""
        return self._judged(task.grades)

    def _judged(self, judgements: Floats) -> tuple[Floats, Floats]:
        there = np.isfinite(judgements)
        return np.asarray(self.scores)[there], judgements[there]


def read_pair_task(path: str | Path) -> PairTask:
    """Read judged pairs; what makes the set smaller or strange is counted and named.

    :param path: a file of pairs, each with ``score`` or ``label``.
    :returns: the task.
    :raises DataError: the file as a whole cannot be read, or no pair has a judgement.
    """
    path = Path(path)
    judged: list[Pair] = []
    without: list[str] = []
    faults = Faults()
    for _, pair in read_numbered_pairs(path, faults):
        if pair.score is None and pair.label is None:
            without.append(pair.anchor)
        else:
            judged.append(pair)
    if not judged:
        broken = f"; {faults.count:,} lines are no pair, {faults.first[0]}" if faults.count else ""
        raise DataError(
            f"none of {len(without):,} pairs has a judgement{broken}; expected 'score' (graded similarity, "
            "0 to 1) or 'label' (1 the same, 0 not) in each",
            path=path,
        )
    return PairTask(
        name=path.name,
        path=path,
        anchors=[pair.anchor for pair in judged],
        positives=[pair.positive for pair in judged],
        grades=_judgements([pair.score for pair in judged]),
        labels=_judgements([pair.label for pair in judged]),
        oddities=(
            *odd_lines("lines are no pair and are left out", faults),
            *odd("pairs have neither score nor label and are left out", without),
            *_repeated(judged),
            *_judged_alone(judged),
        ),
    )


def evaluate_pairs(
    task: PairTask, encoder: TextEncoder, *, label: str = "model", on_progress: OnProgress = ignore
) -> PairResult:
    """Score every pair and compute the metrics that its judgements allow.

    :param task: judged pairs.
    :param encoder: a bundle's encoder, a checkpoint, anything with its two methods.
    :param label: name of the model in the result.
    :param on_progress: told the distinct texts encoded so far.
    :returns: scores and metrics.
    :raises EncodingError: a vector holds NaN or infinity.
    :raises MissingExtraError: scipy is not installed.
    """
    start = time.perf_counter()
    anchors, anchor_rows = _distinct(task.anchors)
    positives, positive_rows = _distinct(task.positives)
    total = len(anchors) + len(positives)
    one = encoder.encode_queries(
        anchors, on_progress=lambda step: on_progress(Progress(step.done, total, "anchors"))
    )
    other = encoder.encode_documents(
        positives,
        on_progress=lambda step: on_progress(Progress(len(anchors) + step.done, total, "positives")),
    )
    check_finite(one)
    check_finite(other)
    scores = np.einsum("ij,ij->i", one[anchor_rows], other[positive_rows]).astype(np.float64)  # (pairs,)
    result = PairResult(
        label=label,
        task=task.name,
        metrics={},
        scores=tuple(scores.tolist()),
        num_pairs=len(scores),
        seconds=time.perf_counter() - start,
    )
    metrics = {name: _statistic(name)(*_arrays(task, result, name)) for name in task.metrics}
    threshold = f1_threshold(precision_recall(*result.labelled(task))) if metrics.get("f1") else None
    return result.model_copy(update={"metrics": metrics, "f1_threshold": threshold})


def pair_interval(task: PairTask, result: PairResult, metric: str) -> Interval:
    """Bootstrap a metric over the pairs.

    :param task: the pairs.
    :param result: a model's scores of them.
    :param metric: one of the task's metrics.
    :returns: the metric and its interval.
    :raises MissingExtraError: scipy is not installed.
    """
    return bootstrap_statistic(_statistic(metric), _arrays(task, result, metric))


def compare_pairs(task: PairTask, result: PairResult, baseline: PairResult, metric: str) -> Comparison:
    """Compare two models on the same pairs, paired.

    :param task: the pairs.
    :param result: the one model's scores.
    :param baseline: the other's.
    :param metric: one of the task's metrics; all are functions of the order alone.
    :returns: the difference with its interval, p-value and verdict.
    :raises MissingExtraError: scipy is not installed.
    """
    statistic = _statistic(metric)
    scores, truth = _arrays(task, result, metric)
    others, _ = _arrays(task, baseline, metric)

    def difference(one: Floats, other: Floats, truth: Floats) -> float:
        return statistic(one, truth) - statistic(other, truth)

    return Comparison(
        metric=metric,
        mean=statistic(scores, truth),
        baseline_mean=statistic(others, truth),
        difference=bootstrap_statistic(difference, (scores, others, truth)),
        p_value=swap_p_value(difference, ranks(scores), ranks(others), truth),
        num_queries=len(truth),
        unit="pairs",
    )


def _statistic(metric: str) -> Statistic:
    return (GRADED_METRICS | LABELLED_METRICS)[metric]


def _arrays(task: PairTask, result: PairResult, metric: str) -> tuple[Floats, Floats]:
    return result.graded(task) if metric in GRADED_METRICS else result.labelled(task)


def _distinct(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return every text once, and where in them each of the given ones is."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(places), [places[text] for text in texts]


def _judgements(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _repeated(pairs: Sequence[Pair]) -> list[Oddity]:
    """Count texts that are paired more than once, apart where the judgements contradict each other."""
    seen: dict[tuple[str, str], tuple[float | None, int | None]] = {}
    repeated: Counter[str] = Counter()
    contradicted: list[str] = []
    for pair in pairs:
        judgement = (pair.score, pair.label)
        first = seen.setdefault((pair.anchor, pair.positive), judgement)
        if first is judgement:
            continue
        if first == judgement:
            repeated[pair.anchor] += 1
        else:
            contradicted.append(pair.anchor)
    return [
        *odd("pairs are there more than once, with the same judgement", repeated.elements()),
        *odd("pairs are there again with another judgement", contradicted),
    ]


def _judged_alone(pairs: Sequence[Pair]) -> list[Oddity]:
    """Name the only pair with a score, or with a label: nothing can be drawn from one again and again."""
    judged = {
        "score": [pair.anchor for pair in pairs if pair.score is not None],
        "label": [pair.anchor for pair in pairs if pair.label is not None],
    }
    return [
        oddity
        for name, anchors in judged.items()
        if len(anchors) == 1
        for oddity in odd(f"pairs have a {name}: too few for an interval or a comparison", anchors)
    ]
