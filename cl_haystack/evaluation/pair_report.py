"""From the results on judged pairs to a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cl_haystack.evaluation.examples import pair_changes
from cl_haystack.evaluation.pair_metrics import precision_recall
from cl_haystack.evaluation.pair_tasks import PairResult, PairTask, compare_pairs, pair_interval
from cl_haystack.evaluation.parts import ComparisonRow, Report, ScoreDistribution, Step, SystemRow
from cl_haystack.evaluation.rows import conclude

_ALIKE = 0.8  # of grades from 0 to 1: STS's 4 of 5, "mostly equivalent", and up
_UNLIKE = 0.4


@dataclass(frozen=True, kw_only=True)
class PairStudy:
    """What was measured on judged pairs.

    :param task: the pairs.
    :param results: the baseline where there is one, then the model that the report is about.
    :param rows: the results as rows of a table.
    :param comparisons: of the model with the baseline, by each metric.
    :param threshold: the calibrated similarity, to be marked.
    :param datasheet: what the models were trained on.
    :param provenance: where the figures come from, by name.
    """

    task: PairTask
    results: Sequence[PairResult]
    rows: Sequence[SystemRow]
    comparisons: Sequence[ComparisonRow]
    threshold: float | None = None
    datasheet: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


def study_pairs(task: PairTask, results: Sequence[PairResult]) -> PairStudy:
    """Compute intervals and comparisons, where there are two judgements or more.

    :param task: the pairs.
    :param results: the baseline where there is one, then the model.
    :returns: the study.
    :raises MissingExtraError: scipy is not installed.
    """
    *before, result = results
    sure = [name for name in task.metrics if task.num_judged(name) > 1]
    rows = [
        SystemRow(
            label=found.label,
            metrics=found.metrics | {name: pair_interval(task, found, name) for name in sure},
            highlight=bool(before) and found is result,
        )
        for found in results
    ]
    comparisons = [
        ComparisonRow(
            system=result.label,
            baseline=other.label,
            comparison=compare_pairs(task, result, other, name),
            on="all pairs",
        )
        for other in before
        for name in sure
    ]
    return PairStudy(task=task, results=results, rows=rows, comparisons=comparisons)


def pair_report(study: PairStudy) -> Report:
    """Tell what was measured on judged pairs.

    :param study: the measurements.
    :returns: the report, for :func:`~cl_haystack.evaluation.report.write_report`.
    """
    task = study.task
    first = study.comparisons[0] if study.comparisons else None
    labelled = bool(np.isfinite(task.labels).any())
    return Report(
        title=f"Pairs of {task.name}",
        summary=f"{len(task.anchors):,} judged pairs of texts.",
        conclusion=conclude(first) if first else "",
        verdict=first.comparison.verdict if first else None,
        primary_metric=task.metrics[0],
        systems=study.rows,
        comparisons=study.comparisons,
        distributions=[_distribution(task, result, study) for result in study.results],
        precision_recall=[
            (result.label, precision_recall(*result.labelled(task))) for result in study.results if labelled
        ],
        pair_examples=pair_changes(task, study.results),
        oddities=[str(oddity) for oddity in task.oddities],
        steps=[Step(name=f"score with {result.label}", seconds=result.seconds) for result in study.results],
        datasheet=study.datasheet,
        provenance=study.provenance,
    )


def _distribution(task: PairTask, result: PairResult, study: PairStudy) -> ScoreDistribution:
    scores = np.asarray(result.scores)
    if np.isfinite(task.labels).any():
        groups = {"the same": scores[task.labels == 1], "not the same": scores[task.labels == 0]}
    else:
        between = (task.grades >= _UNLIKE) & (task.grades < _ALIKE)
        groups = {
            f"graded {_ALIKE} and up": scores[task.grades >= _ALIKE],
            f"graded below {_UNLIKE}": scores[task.grades < _UNLIKE],
            "between": scores[between],
        }
    return ScoreDistribution(
        system=result.label,
        groups={name: values.tolist() for name, values in groups.items() if len(values)},
        threshold=study.threshold if result is study.results[-1] else None,
    )
