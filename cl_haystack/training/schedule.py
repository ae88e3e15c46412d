"""The order of all batches of a run, from first to last, before the first is trained on.

One list for all epochs and all data sets: it depends on the data and the seed alone, so a run that was
interrupted goes on in the middle of an epoch by dropping what is done. A batch holds rows of one data set, so
that it has one loss. With several devices a step's batch is shared out: no text is on two of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from cl_haystack.training.sampling import no_duplicate_batches, shuffled_batches
from cl_haystack.training.training_set import TrainingSet

Mixing = Literal["proportional", "round_robin"]


@dataclass(frozen=True, slots=True)
class ScheduledBatch:
    """Rows of one data set that are trained on together.

    :param training_set: position of the data set.
    :param rows: positions in it.
    :param epoch: pass over that set, from 0.
    """

    training_set: int
    rows: list[int]
    epoch: int = 0


def make_schedule(
    sets: Sequence[TrainingSet],
    *,
    batch_size: int,
    num_epochs: int,
    mixing: Mixing,
    seed: int,
    num_devices: int = 1,
) -> list[ScheduledBatch]:
    """Lay out all batches of a run.

    :param sets: the data sets.
    :param batch_size: rows of a batch on one device.
    :param num_epochs: passes over each set that states none.
    :param mixing: ``proportional`` spreads each set evenly over the run; ``round_robin`` takes one batch of
        each in turn and stops when one has no more.
    :param seed: of the order; every epoch is shuffled anew.
    :param num_devices: devices that train together; batches are for all of them.
    :returns: the batches, in order; those that cannot teach anything are left out.
    """
    queues = [
        [
            ScheduledBatch(position, rows, epoch)
            for epoch in range(training_set.num_epochs or num_epochs)
            for rows in _epoch(training_set, batch_size * num_devices, seed + 1_000 * position + epoch)
            if len(rows) >= num_devices and training_set.can_teach(rows)
        ]
        for position, training_set in enumerate(sets)
    ]
    if mixing == "round_robin":
        return [batch for turn in zip(*queues, strict=False) for batch in turn]
    placed = [((i + 0.5) / len(queue), batch) for queue in queues for i, batch in enumerate(queue)]
    return [batch for _, batch in sorted(placed, key=lambda item: (item[0], item[1].training_set))]


def share_of(batch: ScheduledBatch, device: int, num_devices: int) -> ScheduledBatch:
    """Return the part of a batch that one of several devices trains on."""
    return replace(batch, rows=batch.rows[device::num_devices])


def pairs_done(schedule: Sequence[ScheduledBatch], batches_a_step: int) -> Callable[[int], int]:
    """Return a function that tells how many pairs the first steps of the schedule hold."""
    totals = [0, *accumulate(len(batch.rows) for batch in schedule)]
    return lambda step: totals[min(step * batches_a_step, len(schedule))]


def _epoch(training_set: TrainingSet, batch_size: int, seed: int) -> list[list[int]]:
    if training_set.loss.in_batch_negatives:
        return list(no_duplicate_batches(training_set.given.texts, batch_size, seed=seed))
    return shuffled_batches(len(training_set), batch_size, seed=seed)
