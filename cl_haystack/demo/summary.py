"""What the demo found, as plain data: the table's rows, the verdict in words, the report."""

from typing import Any

from cl_haystack.demo.circle import DemoResult
from cl_haystack.demo.live import BASE, SYSTEMS, TUNED
from cl_haystack.evaluation.parts import Report, Step
from cl_haystack.evaluation.rows import comparison_row, conclude, gains, system_row

_METRICS = ("ndcg@10", "recall@10", "mrr@10")


def summarize(result: DemoResult) -> Report:
    """Turn the measured results into a report.

    :param result: what the circle ended in.
    :returns: the report: table, comparisons with the base model, gains by question, examples, steps.
    """
    base, tuned, counts = result.results[BASE], result.results[TUNED], result.counts
    comparisons = {
        name: comparison_row(system, base) for name, system in result.results.items() if name != BASE
    }
    return Report(
        title="Search before and after fine-tuning",
        summary=(
            f"{counts['documents']:,} documents: {result.source}. {counts['pairs']:,} training pairs come "
            f"from one part of them. {counts['questions']:,} questions of the other part, none of whose "
            "documents was trained on, were asked of live OpenSearch indices that hold all."
        ),
        conclusion=conclude(comparisons[TUNED]),
        verdict=comparisons[TUNED].comparison.verdict,
        systems=[system_row(result.results[name], _METRICS, highlight=name == TUNED) for name in SYSTEMS],
        comparisons=list(comparisons.values()),
        gains=gains(tuned, base),
        examples=result.examples,
        steps=[Step(name=step.title, seconds=step.seconds, reused=step.reused) for step in result.steps],
        provenance=_provenance(result),
    )


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
