"""A step that makes no numbers: it ends the run before it is taken, and its batch is kept to be looked at."""

from collections.abc import Sequence
from pathlib import Path

from accelerate import PartialState

from cl_haystack.data import write_pairs
from cl_haystack.errors import TrainingError, quote
from cl_haystack.training.pair_table import as_pair
from cl_haystack.training.schedule import ScheduledBatch
from cl_haystack.training.training_set import TrainingSet


class NotFiniteError(Exception):
    """What a step made is infinite or not a number; told on with the batch by whoever knows the pairs."""

    def __init__(self, step: int, problem: str) -> None:
        self.step = step
        super().__init__(problem)


def with_saved_batch(
    error: NotFiniteError,
    batches: Sequence[ScheduledBatch],
    sets: Sequence[TrainingSet],
    state: Path | None,
) -> TrainingError:
    """Save the batch of the step that went wrong, of all devices, and name it.

    :param error: what went wrong.
    :param batches: those of the step.
    :param sets: the data sets.
    :param state: folder of the saved states, beside which the batch is written; None takes the current one.
    :returns: the error to raise.
    """
    rows = [row for batch in batches for row in sets[batch.training_set].pairs.rows(batch.rows)]
    file = Path.cwd() / f"not-finite-step-{error.step}.jsonl"
    if state is not None:  # beside the states, which a new start removes
        file = state.with_name(f"{state.name}.{file.name}")
    devices = PartialState()
    if devices.is_main_process:
        write_pairs((as_pair(row) for row in rows), file)
    devices.wait_for_everyone()  # the first to fail ends all others
    return TrainingError(
        f"{error}; its batch, which begins with the anchor {quote(rows[0]['anchor'])}, was written to "
        f"{file}; look at its texts, or lower the loss's scale or learning_rate"
    )
