"""What a training run did, for people and for the checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from cl_haystack.training.arguments import BEST_METRIC
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.schedule import ScheduledBatch
from cl_haystack.training.training_set import TrainingSet


@dataclass(frozen=True)
class TrainingReport:
    """What a training run did.

    :param num_pairs: pairs of all data sets.
    :param steps: optimizer steps.
    :param seconds: wall time of the loop, evaluations included.
    :param first_loss: mean loss of the first tenth of the steps.
    :param last_loss: mean loss of the last tenth of the steps.
    :param unused_pairs: pairs that never were in a batch that could teach anything.
    :param evaluations: metrics during training, each with its ``step``; empty without a task.
    :param scores: see :func:`~cl_haystack.training.scores.score_distribution`; one a data set, with its name.
    """

    num_pairs: int
    steps: int
    seconds: float
    first_loss: float
    last_loss: float
    unused_pairs: int
    evaluations: list[dict[str, float]]
    scores: list[dict[str, Any]]


def make_report(
    sets: Sequence[TrainingSet],
    schedule: Sequence[ScheduledBatch],
    history: Sequence[dict[str, float]],
    *,
    steps: int,
    seconds: float,
    scores: list[dict[str, Any]],
) -> TrainingReport:
    """Sum up a run.

    :param sets: its data sets.
    :param schedule: its batches.
    :param history: what transformers' trainer logged.
    :param steps: optimizer steps.
    :param seconds: wall time of the loop.
    :param scores: the trained model's distribution of scores, one a data set.
    :returns: the report.
    """
    losses = [entry["loss"] for entry in history if "loss" in entry]
    tenth = max(1, len(losses) // 10)
    used = [{row for b in schedule if b.training_set == i for row in b.rows} for i in range(len(sets))]
    return TrainingReport(
        num_pairs=sum(map(len, sets)),
        steps=steps,
        seconds=seconds,
        first_loss=sum(losses[:tenth]) / tenth,
        last_loss=sum(losses[-tenth:]) / tenth,
        unused_pairs=sum(len(s) - len(rows) for s, rows in zip(sets, used, strict=True)),
        evaluations=[
            {name.removeprefix("eval_"): value for name, value in entry.items()}
            for entry in history
            if f"eval_{BEST_METRIC}" in entry
        ],
        scores=scores,
    )


def training_record(
    report: TrainingReport, sets: Sequence[TrainingSet], config: TrainingConfig, base_model: dict[str, str]
) -> dict[str, Any]:
    """Return what the checkpoint keeps of a run.

    :param report: what the run did.
    :param sets: its data sets.
    :param config: options of the loop.
    :param base_model: name and digest of what training started from.
    :returns: values in plain types, by name.
    """
    return {
        "base_model": base_model,
        "loss": sets[0].loss.describe(),
        "datasets": [
            {"name": s.name, **s.provenance, "num_pairs": len(s), "loss": s.loss.describe()} for s in sets
        ],
        "hyperparameters": config.model_dump(mode="json"),
        "num_pairs": report.num_pairs,
        "steps": report.steps,
        "seed": config.seed,
        "evaluations": report.evaluations,
        "scores": report.scores,
        "versions": {name: version(name) for name in ("cl-haystack", "torch", "transformers")},
    }
