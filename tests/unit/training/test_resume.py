"""An interrupted run goes on where it was: the weights at the end are those of a run nobody interrupted."""

import random
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback

from cl_haystack.data import Pair, RetrievalTask
from cl_haystack.errors import CheckpointError, TrainingError, TrainingInterruptedError
from cl_haystack.training import ContrastiveTrainer
from cl_haystack.training.losses import CoSENT, InfoNCE
from cl_haystack.training.training_set import TrainingSet
from tests.tiny_model import make_tiny_checkpoint
from tests.unit.training.processes import kill_at_file_event, run, start
from tests.unit.training.runs import (
    Signal,
    WreckWeights,
    assert_same_weights,
    changed,
    many_pairs,
    pairs_to_learn,
    weights,
)

# Dropout, two data sets in turn, a learned temperature, accumulation: all of it has a state of its own.
OPTIONS: dict[str, Any] = {
    "num_epochs": 2,
    "batch_size": 3,
    "dropout": 0.2,
    "save_interval_s": 0,
    "learning_rate": 1e-3,
    "gradient_accumulation_steps": 2,
}


def two_sets() -> list[TrainingSet]:
    graded = [pair.model_copy(update={"score": (i % 4) / 4}) for i, pair in enumerate(many_pairs(12))]
    return [
        TrainingSet(many_pairs(20, negatives=lambda i: i % 3), loss=InfoNCE(learn_scale=True), name="ranked"),
        TrainingSet(graded, loss=CoSENT(), name="graded", num_epochs=3),
    ]


def train(checkpoint: Path, state: Path, result: Path, dies_at_file_event: int = 0, **options: Any) -> None:
    """Train to the end, going on from the newest state, and write the weights."""
    trainer = ContrastiveTrainer(checkpoint, config=changed(**OPTIONS | options))
    if dies_at_file_event:
        kill_at_file_event(dies_at_file_event, state)
    sets = two_sets()
    trainer.train(sets, state=state, resume=True)
    temperature = {"temperature": torch.tensor(sets[0].loss.describe()["learned_scale"])}
    torch.save(weights(trainer.encoder) | temperature, result)


@pytest.fixture
def undisturbed(checkpoint: Path, tmp_path: Path) -> dict[str, Tensor]:
    run(train, checkpoint, tmp_path / "undisturbed-state", tmp_path / "undisturbed")
    found: dict[str, Tensor] = torch.load(tmp_path / "undisturbed")
    assert found["temperature"] != 20
    return found


def newest(state: Path) -> int:
    """Return the step of the newest state, 0 where there is none."""
    return max((int(path.name.split("-")[1]) for path in state.glob("checkpoint-*")), default=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_again_and_again(
    checkpoint: Path, tmp_path: Path, undisturbed: dict[str, Tensor], seed: int
) -> None:
    moments, killed_at = random.Random(seed), []
    state = tmp_path / "state"
    while True:
        process = start(train, checkpoint, state, tmp_path / "result")
        step = newest(state) + moments.randint(1, 2)
        while process.is_alive() and newest(state) < step:
            time.sleep(0.002)
        process.join(moments.uniform(0, 0.03))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        killed_at.append(newest(state))
    assert killed_at  # four times or so, where the machine has time for this process
    assert_same_weights(torch.load(tmp_path / "result"), undisturbed)


@pytest.mark.long
def test_killed_at_each_moment_of_writing_a_state(
    checkpoint: Path, tmp_path: Path, undisturbed: dict[str, Tensor]
) -> None:
    """Of the second state: the first one is there, and must be neither lost nor mixed with the second."""
    left_behind: set[frozenset[str]] = set()
    for event in range(12, 40):
        state, result = tmp_path / f"state-{event}", tmp_path / f"result-{event}"
        process = start(train, checkpoint, state, result, event)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        left_behind.add(frozenset(path.name for path in state.iterdir()))
        run(train, checkpoint, state, result)
        assert_same_weights(torch.load(result), undisturbed)
        if {"run.json", "checkpoint-2"} in left_behind:
            break
    assert {"run.json", "checkpoint-1", "draft"} in left_behind
    assert {"run.json", "checkpoint-1", "checkpoint-2"} in left_behind
    assert {"run.json", "checkpoint-2"} in left_behind


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_state_and_ends_training(checkpoint: Path, tmp_path: Path, number: int) -> None:
    """And training goes on in the same process, whose loss and weights have moved meanwhile."""
    state, config = tmp_path / "state", changed(**OPTIONS | {"save_interval_s": 1_000})
    undisturbed = ContrastiveTrainer(checkpoint, config=config)
    expected = undisturbed.train(two_sets())
    trainer, sets = ContrastiveTrainer(checkpoint, config=config, callbacks=[Signal(number, 3)]), two_sets()
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(TrainingInterruptedError, match=r"after step 3 of 13; .* resume to go on") as caught:
        trainer.train(sets, state=state)
    assert caught.value.signal == number
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert newest(state) == 3
    report = trainer.train(sets, state=state, resume=True)
    assert (report.steps, report.last_loss) == (expected.steps, expected.last_loss)
    assert_same_weights(weights(trainer.encoder), weights(undisturbed.encoder))


@pytest.mark.parametrize("options", [{"base_weight": 0.3}, {"lora_rank": 2}], ids=["averaged", "adapters"])
def test_resumed_where_the_weights_are_not_those_of_the_steps(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    if "lora_rank" in options:
        pytest.importorskip("peft")
    config = changed(**OPTIONS | options)
    undisturbed = ContrastiveTrainer(checkpoint, config=config)
    undisturbed.train(two_sets())
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=[Signal(signal.SIGTERM, 5)])
    with pytest.raises(TrainingInterruptedError):
        trainer.train(two_sets(), state=tmp_path / "state")
    trainer.train(two_sets(), state=tmp_path / "state", resume=True)
    assert_same_weights(weights(trainer.encoder), weights(undisturbed.encoder))


def test_a_set_whose_negatives_were_refreshed_goes_on_in_the_same_process(
    checkpoint: Path, tmp_path: Path
) -> None:
    """The set is no longer what it was when the run began, but it is that run's."""

    def refreshed() -> TrainingSet:
        pairs, words = many_pairs(9), iter(["the cat", "the dog", "the mat"])

        def remine() -> list[Pair]:
            word = next(words)
            return [pair.model_copy(update={"negatives": (word,)}) for pair in pairs]

        return TrainingSet(pairs, remine=remine)

    config = changed(num_epochs=4, batch_size=3, dropout=0.1)
    undisturbed = ContrastiveTrainer(checkpoint, config=config)
    undisturbed.train([refreshed()])
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=[Signal(signal.SIGTERM, 8)])
    training_set = refreshed()
    with pytest.raises(TrainingInterruptedError):
        trainer.train([training_set], state=tmp_path / "state")
    trainer.train([training_set], state=tmp_path / "state", resume=True)
    assert_same_weights(weights(trainer.encoder), weights(undisturbed.encoder))


def test_best_weights_and_patience_survive_an_interruption(
    checkpoint: Path, tmp_path: Path, task: RetrievalTask
) -> None:
    """The best evaluation lies before the interruption, the end of patience after it."""

    def sets() -> list[TrainingSet]:
        return [TrainingSet(pairs_to_learn(20)), two_sets()[1]]

    wreck = WreckWeights(6)
    config = changed(
        num_epochs=3, batch_size=5, dropout=0.1, evaluations=24, patience=4, save_interval_s=1_000
    )
    undisturbed = ContrastiveTrainer(checkpoint, config=config, callbacks=[wreck])
    expected = undisturbed.train(sets(), task=task)
    best = max(expected.evaluations, key=lambda each: each["ndcg@10"])
    interrupted_at = expected.steps - 2
    assert 1 < best["step"] < interrupted_at < expected.steps < 18
    stop = Signal(signal.SIGTERM, interrupted_at)
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=[wreck, stop])
    with pytest.raises(TrainingInterruptedError):
        trainer.train(sets(), task=task, state=tmp_path / "state")
    for _ in range(2):  # the second time there is a whole run to go on from
        report = trainer.train(sets(), task=task, state=tmp_path / "state", resume=True)
        assert report.evaluations == expected.evaluations
        assert_same_weights(weights(trainer.encoder), weights(undisturbed.encoder))


@pytest.mark.parametrize("bytes_left", [1_000, 70_000], ids=["weights", "optimizer"])
def test_a_full_disk_keeps_the_earlier_state(
    checkpoint: Path, tmp_path: Path, bytes_left: int, undisturbed: dict[str, Tensor]
) -> None:
    """The system refuses to write more than so many bytes of a file from the fourth step on."""
    state, result = tmp_path / "state", tmp_path / "result"
    run(train_on_a_full_disk, checkpoint, state, bytes_left)
    assert sorted(path.name for path in state.iterdir()) == ["checkpoint-3", "run.json"]
    run(train, checkpoint, state, result)
    assert_same_weights(torch.load(result), undisturbed)


class SmallDisk(TrainerCallback):
    """Lets the system refuse files above a size, from the fourth step on."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 4:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._most_bytes, hard))


def train_on_a_full_disk(checkpoint: Path, state: Path, bytes_left: int) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=changed(**OPTIONS), callbacks=[SmallDisk(bytes_left)])
    with pytest.raises(CheckpointError, match="checkpoint-3 is still there: make room and resume"):
        trainer.train(two_sets(), state=state)


def other_weight(sets: list[TrainingSet]) -> list[TrainingSet]:
    pairs = many_pairs(20, negatives=lambda i: i % 3)
    pairs[7] = pairs[7].model_copy(update={"weight": 2.0})
    return [TrainingSet(pairs, loss=sets[0].loss), sets[1]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"config": {"learning_rate": 2e-3}}, "configuration"),
        ({"sets": other_weight}, "training data"),
        ({"sets": lambda sets: sets[:1]}, "training data.*passes.*losses"),
        ({"sets": lambda sets: [TrainingSet(many_pairs(20, negatives=lambda i: i % 3)), sets[1]]}, "losses"),
        ({"passes": 1}, "passes over the training data"),
        ({"seed_of_model": 1}, "base model"),
    ],
)
def test_the_state_of_another_run_is_refused(
    checkpoint: Path, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    state, config = tmp_path / "state", changed(**OPTIONS)
    with pytest.raises(TrainingInterruptedError):
        ContrastiveTrainer(checkpoint, config=config, callbacks=[Signal(signal.SIGTERM, 1)]).train(
            two_sets(), state=state
        )
    files = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    sets = change.get("sets", lambda sets: sets)(two_sets())
    sets[0].num_epochs = change.get("passes")
    if "seed_of_model" in change:
        checkpoint = make_tiny_checkpoint(tmp_path / "other", seed=1)
    trainer = ContrastiveTrainer(checkpoint, config=config.model_copy(update=change.get("config", {})))
    with pytest.raises(TrainingError, match=f"holds the state of another run: {named} differ"):
        trainer.train(sets, state=state, resume=True)
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*")} == files


def test_what_cannot_change_the_weights_may_differ(checkpoint: Path, tmp_path: Path) -> None:
    stop = [Signal(signal.SIGTERM, 1)]
    with pytest.raises(TrainingInterruptedError):
        ContrastiveTrainer(checkpoint, config=changed(**OPTIONS), callbacks=stop).train(
            two_sets(), state=tmp_path / "state"
        )
    config = changed(**OPTIONS | {"save_interval_s": 77})
    ContrastiveTrainer(checkpoint, config=config).train(two_sets(), state=tmp_path / "state", resume=True)


def test_starting_anew_forgets_the_states_and_nothing_else(checkpoint: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "checkpoint-99").mkdir(parents=True)  # of a run that did not say which it was
    (state / "notes.txt").write_text("mine")
    trainer = ContrastiveTrainer(checkpoint, config=changed(**OPTIONS), callbacks=[Signal(signal.SIGTERM, 2)])
    with pytest.raises(TrainingError, match="another run"):
        trainer.train(two_sets(), state=state, resume=True)
    with pytest.raises(TrainingInterruptedError):
        trainer.train(two_sets(), state=state)
    assert sorted(path.name for path in state.iterdir()) == ["checkpoint-2", "notes.txt", "run.json"]


def test_resuming_where_nothing_was_begun_begins(checkpoint: Path, tmp_path: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=changed(**OPTIONS))
    assert trainer.train(two_sets(), state=tmp_path / "state", resume=True).steps == 13
