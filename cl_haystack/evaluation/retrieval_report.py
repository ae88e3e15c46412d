"""From the results of a retrieval task to a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cl_haystack.data import RetrievalTask
from cl_haystack.evaluation.examples import build_examples, hardest, hardest_negatives, largest_changes
from cl_haystack.evaluation.parts import ComparisonRow, CurvePoint, Report, Step, SystemRow, Variant
from cl_haystack.evaluation.retrieval import RetrievalResult
from cl_haystack.evaluation.rows import conclude, gains
from cl_haystack.evaluation.sample import SampleVectors, TextSample, score_distribution, text_map


@dataclass(frozen=True, kw_only=True)
class RetrievalStudy:
    """What was measured on a retrieval task.

    :param task: questions, judgements, corpus.
    :param results: the baseline where there is one, then the system that the report is about.
    :param rows: the results as rows of a table, and those of variants.
    :param comparisons: of the system with the baseline: on all queries first.
    :param curve: results by number of training pairs.
    :param variants: other exports.
    :param sample: texts of the task; None where no system is a model.
    :param vectors: the sample as each model sees it, before first.
    :param datasheet: what the models were trained on.
    :param provenance: where the figures come from, by name.
    :param notes: what to know of the comparisons, such as what the training pairs give away.
    """

    task: RetrievalTask
    results: Sequence[RetrievalResult]
    rows: Sequence[SystemRow]
    comparisons: Sequence[ComparisonRow] = ()
    curve: Sequence[CurvePoint] = ()
    variants: Sequence[Variant] = ()
    sample: TextSample | None = None
    vectors: Sequence[SampleVectors] = ()
    datasheet: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def oddities(self) -> list[str]:
        """What to know of the comparisons, was left out of the task or of a run, or is strange in it."""
        found = [*self.notes, *map(str, self.task.oddities)]
        return found + [f"{result.label}: {what}" for result in self.results for what in result.oddities]


def retrieval_report(study: RetrievalStudy) -> Report:
    """Tell what was measured on a retrieval task.

    :param study: the measurements.
    :returns: the report, for :func:`~cl_haystack.evaluation.report.write_report`.
    """
    task = study.task
    *before, result = study.results
    notes = largest_changes(result, before[0]) if before else hardest(result)
    first = study.comparisons[0] if study.comparisons else None
    sample = study.sample
    return Report(
        title=f"Retrieval on {task.name}",
        summary=f"{len(task.queries):,} questions with known answers, {task.num_documents:,} documents.",
        conclusion=conclude(first) if first else "",
        verdict=first.comparison.verdict if first else None,
        systems=study.rows,
        comparisons=study.comparisons,
        curve=study.curve,
        gains=gains(result, before[0]) if before else None,
        distributions=[score_distribution(sample, found) for found in study.vectors] if sample else (),
        maps=[text_map(sample, found) for found in study.vectors] if sample else (),
        variants=study.variants,
        examples=build_examples(task, study.results, notes),
        hard_negatives=hardest_negatives(task, result),
        oddities=study.oddities,
        steps=[Step(name=f"evaluate {r.label}", seconds=r.seconds) for r in study.results],
        datasheet=study.datasheet,
        provenance=study.provenance,
    )


def describe_training(training: Mapping[str, Any]) -> dict[str, str]:
    """Put a model's provenance into lines for people.

    :param training: ``training`` of a bundle's manifest or of a checkpoint.
    :returns: one line a field, and one for each of several records, such as ``datasets 1``.
    """
    lines: dict[str, Any] = {}
    for name, value in training.items():
        if _is_list_of_records(value):
            lines |= {f"{name} {number}": record for number, record in enumerate(value, start=1)}
        else:
            lines[name] = value
    return {name: _inline(value) for name, value in lines.items() if value not in (None, "", [], {})}


def _is_list_of_records(value: object) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value)


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name} ({_inline(inner)})" if isinstance(inner, Mapping) else f"{name} {_inline(inner)}"
            for name, inner in value.items()
            if inner not in (None, "", [], {})
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(_inline, value))
    return str(value)
