"""Negatives mined anew at the borders of epochs: when, with which model, and again after an interruption."""

from pathlib import Path

import pytest
from transformers import TrainerCallback

from cl_haystack.data import Pair, read_pairs
from cl_haystack.errors import ConfigurationError
from cl_haystack.training import ContrastiveTrainer, TrainingSet
from tests.unit.training.runs import assert_same_weights, changed, many_pairs, weights

PAIRS = many_pairs(12)


class StoppedError(Exception):
    """What an interruption looks like from inside."""


class StopAfter(TrainerCallback):
    """Interrupts a run as a crash would, after its state was saved."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_save(self, args, state, control, **_):
        if state.global_step == self._step:
            raise StoppedError


def new_set(mined: list[int], *, every: int = 1) -> TrainingSet:
    """A set whose n-th mining gives every pair the n-th word as its negative."""
    words = ["the cat", "the dog", "the mat", "the house", "the red"]

    def remine() -> list[Pair]:
        mined.append(len(mined))
        return [pair.model_copy(update={"negatives": (words[mined[-1]],)}) for pair in PAIRS]

    return TrainingSet(PAIRS, remine=remine, remine_every=every)


def train(
    checkpoint: Path, training_set: TrainingSet, callbacks=(), state=None, resume=False, **options: object
):
    config = changed(num_epochs=4, batch_size=4, save_interval_s=0, dropout=0.1, **options)
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=callbacks)
    trainer.train([training_set], state=state, resume=resume)
    return weights(trainer.encoder)


@pytest.mark.parametrize(("every", "times"), [(1, 3), (2, 1), (9, 0)])
def test_negatives_are_mined_between_epochs(checkpoint: Path, every: int, times: int) -> None:
    mined: list[int] = []
    training_set = new_set(mined, every=every)
    train(checkpoint, training_set)
    assert len(mined) == times
    last = {1: ["the mat"], 2: ["the cat"], 9: []}[every]
    assert training_set.pairs.rows([0])[0]["negatives"] == last


def test_new_negatives_change_what_is_learned(checkpoint: Path) -> None:
    with_negatives = train(checkpoint, new_set([]))
    without = train(checkpoint, TrainingSet(PAIRS))
    assert any((with_negatives[name] != without[name]).any() for name in without)


@pytest.mark.parametrize("step", [2, 3, 5, 6, 9, 11])
def test_a_resumed_run_has_the_negatives_that_the_interrupted_one_had(
    checkpoint: Path, tmp_path: Path, step: int
) -> None:
    expected = train(checkpoint, new_set([]))
    mined: list[int] = []
    with pytest.raises(StoppedError):
        train(checkpoint, new_set(mined), [StopAfter(step)], tmp_path / "state")
    files = sorted((tmp_path / "state").glob("negatives-*.jsonl"))
    assert len(files) == len(mined) == step // 3
    assert all(len(list(read_pairs(file))) == len(PAIRS) for file in files)
    again = new_set(mined)  # goes on counting: mining what was mined before would give other negatives
    assert_same_weights(train(checkpoint, again, [], tmp_path / "state", resume=True), expected)
    assert len(mined) == 3


def test_batches_that_are_read_ahead_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigurationError, match="num_workers is 2"):
        train(checkpoint, new_set([]), num_workers=2)
