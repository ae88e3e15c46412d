"""What the demo found, as plain data: the table's rows, the verdict in words, the report."""

from typing import Any

from cl_haystack.demo.circle import DemoResult
from cl_haystack.demo.live import BASE, SYSTEMS, TUNED
from cl_haystack.evaluation.report import ComparisonRow, Gains, Report, Step, SystemRow, points
from cl_haystack.evaluation.retrieval import RetrievalResult
from cl_haystack.evaluation.significance import Comparison, compare, metric_values, paired_bootstrap

METRICS = ("ndcg@10", "recall@10", "mrr@10")
PRIMARY = METRICS[0]


def summarize(result: DemoResult) -> Report:
    """Turn the measured results into a report.

    :param result: what the circle ended in.
    :returns: the report: table, comparisons with the base model, gains by question, examples, steps.
    """
    base, tuned = result.results[BASE], result.results[TUNED]
    comparisons = [
        ComparisonRow(
            system=SYSTEMS[name],
            baseline=SYSTEMS[BASE],
            comparison=compare(result.results[name].per_query, base.per_query, PRIMARY),
        )
        for name in SYSTEMS
        if name != BASE
    ]
    main = next(row.comparison for row in comparisons if row.system == SYSTEMS[TUNED])
    return Report(
        title="Search before and after fine-tuning",
        summary=(
            f"{result.counts['documents']:,} documents: {result.source}. {result.counts['pairs']:,} training "
            f"pairs come from one part of them. {result.counts['questions']:,} questions of the other part, "
            "none of whose documents was trained on, were asked of live OpenSearch indices that hold all."
        ),
        conclusion=conclusion(main),
        verdict=main.verdict,
        primary_metric=PRIMARY,
        systems=[_row(name, result.results[name]) for name in SYSTEMS],
        comparisons=comparisons,
        gains=Gains(
            system=SYSTEMS[TUNED],
            baseline=SYSTEMS[BASE],
            metric=PRIMARY,
            differences=[tuned.per_query[q][PRIMARY] - base.per_query[q][PRIMARY] for q in base.per_query],
        ),
        examples=result.examples,
        steps=[Step(name=step.title, seconds=step.seconds, reused=step.reused) for step in result.steps],
        provenance=_provenance(result),
    )


def conclusion(comparison: Comparison) -> str:
    """Say in one sentence whether the tuned model is better than the base model.

    :param comparison: tuned against base.
    :returns: the sentence, with the difference in points of nDCG@10 and its 95 % interval.
    """
    difference = comparison.difference
    figures = (
        f"nDCG@10 {comparison.baseline_mean:.3f} → {comparison.mean:.3f}, {points(difference.mean)} points "
        f"[{points(difference.low)}, {points(difference.high)}]"
    )
    match comparison.verdict:
        case "better":
            return f"The tuned model is better than the base model: {figures}."
        case "worse":
            return f"The tuned model is worse than the base model: {figures}. Do not use it."
        case _:
            return f"The tuned model cannot be told from the base model: {figures}."


def _row(name: str, result: RetrievalResult) -> SystemRow:
    intervals = {metric: paired_bootstrap(metric_values(result.per_query, metric)) for metric in METRICS}
    return SystemRow(label=SYSTEMS[name], metrics=intervals, latency=result.latency, highlight=name == TUNED)


def _provenance(result: DemoResult) -> dict[str, str]:
    manifest = result.tuned.manifest
    training = manifest.training
    return {
        "base model": f"{training['base_model']['name']} (weights {training['base_model']['weights'][:12]})",
        "loss": ", ".join(f"{key} {value}" for key, value in training["loss"].items()),
        "hyperparameters": ", ".join(f"{key} {value}" for key, value in training["hyperparameters"].items()),
        "training data": ", ".join(map(_dataset, training["datasets"])),
        "tuned bundle": f"space {manifest.space_id}, fingerprint {manifest.fingerprint}",
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.producer.items()),
    }


def _dataset(dataset: dict[str, Any]) -> str:
    return f"{dataset['path']} (sha256 {dataset['sha256'][:12]}, {dataset['licence'] or 'no licence stated'})"
