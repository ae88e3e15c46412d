"""Negatives that keep up with the model: mined anew every few epochs.

What was hard for the base model is easy after an epoch. Before a data set's next epoch begins its negatives
are mined with the model as it is then. What was mined is written beside the saved states first, so that a
resumed run trains on the very negatives that the interrupted one had.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cl_haystack.data import Pair, read_pairs, write_pairs
from cl_haystack.errors import ConfigurationError
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.pair_table import PairTable
from cl_haystack.training.schedule import ScheduledBatch
from cl_haystack.training.training_set import TrainingSet


class RefreshNegatives(TrainerCallback):
    """Gives a data set new negatives at the borders of its epochs.

    :param training_set: whose pairs get them.
    :param steps: the steps after which it is time.
    :param remine: mines.
    :param folder: where mined pairs are kept.
    :param name: tells data sets of one run apart.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        steps: Sequence[int],
        remine: Callable[[], Iterable[Pair]],
        folder: Path,
        name: str,
    ) -> None:
        self._set = training_set
        self._steps = sorted(steps)
        self._remine = remine
        self._folder = folder
        self._name = name

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take up the negatives that an interrupted run had."""
        past = [step for step in self._steps if step <= state.global_step]
        if past and self._file(past[-1]).is_file():
            self._set.refresh(PairTable(read_pairs(self._file(past[-1]))))
        elif past:
            self._refresh(past[-1])  # interrupted between the last step and its mining
        else:
            self._set.pairs = self._set.given

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Mine where an epoch ends."""
        if state.global_step in self._steps:
            self._refresh(state.global_step)

    def _refresh(self, step: int) -> None:
        devices = PartialState()
        if devices.is_main_process:
            write_pairs(self._remine(), self._file(step))
        devices.wait_for_everyone()
        self._set.refresh(PairTable(read_pairs(self._file(step))))

    def _file(self, step: int) -> Path:
        return self._folder / f"negatives-{self._name}-{step}.jsonl"


def refresh_callbacks(
    sets: Sequence[TrainingSet], schedule: Sequence[ScheduledBatch], config: TrainingConfig, folder: Path
) -> list[RefreshNegatives]:
    """Make the callbacks of the data sets whose negatives are to be refreshed.

    :param sets: the data sets.
    :param schedule: all batches of the run.
    :param config: batches of a step.
    :param folder: where mined pairs are kept.
    :returns: one a data set that asks for it.
    :raises ConfigurationError: batches are read ahead by worker processes, which would not see new negatives.
    """
    callbacks = []
    for position, training_set in enumerate(sets):
        if training_set.remine is None:
            continue
        if config.num_workers:
            raise ConfigurationError(
                f"num_workers is {config.num_workers}: refreshed negatives cannot be read ahead; set it to 0"
            )
        borders = _epoch_borders(schedule, position, every=training_set.remine_every)
        steps = [math.ceil(border / config.gradient_accumulation_steps) for border in borders]
        callbacks.append(RefreshNegatives(training_set, steps, training_set.remine, folder, str(position)))
    return callbacks


def _epoch_borders(schedule: Sequence[ScheduledBatch], position: int, *, every: int) -> list[int]:
    """Return the batches before which every ``every``-th epoch of a data set begins, the first left out."""
    first_batches: dict[int, int] = {}
    for number, batch in enumerate(schedule):
        if batch.training_set == position:
            first_batches.setdefault(batch.epoch, number)
    return [number for epoch, number in first_batches.items() if epoch and epoch % every == 0]
