"""What a run needs beside its pairs, and is refused without: a teacher, dropout, evaluations, other texts."""

from collections.abc import Sequence

from cl_haystack.data import RetrievalTask
from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.schedule import ScheduledBatch
from cl_haystack.training.training_set import TrainingSet


def check_patience(config: TrainingConfig, task: RetrievalTask | None) -> None:
    """Refuse to stop early by evaluations that never take place.

    :param config: options of the loop.
    :param task: what the model is measured with during training.
    :raises ConfigurationError: there is patience, but no task.
    """
    if config.patience is not None and task is None:
        raise ConfigurationError(
            f"patience is {config.patience}: stopping early needs evaluations; give a task "
            "(--eval), or leave patience out"
        )


def check_dropout(sets: Sequence[TrainingSet], dropout: float) -> None:
    """Refuse a loss that compares a text with itself where nothing tells the two embeddings apart.

    :param sets: the data sets.
    :param dropout: of all layers.
    :raises ConfigurationError: there is such a loss, and no dropout.
    """
    names = [s.loss.name for s in sets if s.loss.positive_is_anchor]
    if names and not dropout:
        raise ConfigurationError(
            f"dropout is 0, but the loss {names[0]} compares two embeddings of one text that differ by "
            "dropout alone; set it in the configuration, such as 0.1"
        )


def check_teacher(sets: Sequence[TrainingSet], *, guide_is_named: bool) -> None:
    """Refuse a loss that learns from a teacher where there is none.

    :param sets: the data sets.
    :param guide_is_named: whether the run has a guide model of its own.
    :raises ConfigurationError: neither the run names a teacher, nor do the pairs bring its scores.
    """
    untaught = [s for s in sets if s.loss.learns_from_guide and s.needs_guide]
    if untaught and not guide_is_named:
        columns = " or add 'candidate_scores' to every pair;" * ("candidate_scores" in untaught[0].loss.uses)
        raise ConfigurationError(
            f"the loss {untaught[0].loss.name} learns from a teacher, and {untaught[0].name!r} has none: "
            f"name a guide model;{columns} the model cannot be its own teacher"
        )


def check_schedule(schedule: Sequence[ScheduledBatch], sets: Sequence[TrainingSet]) -> None:
    """Refuse pairs that have nothing to be told from.

    :param schedule: all batches of the run that can teach anything.
    :param sets: the data sets.
    :raises DataError: there is no such batch.
    """
    if schedule:
        return
    found = ", ".join(f"{s.name!r} has {len(s)} and loss {s.loss.name}" for s in sets)
    raise DataError(
        f"no batch of the training pairs has anything to tell a positive from ({found}); a loss with "
        "in-batch negatives needs at least 2 pairs of different texts in a batch, or hard negatives: add "
        "pairs, or raise batch_size"
    )
