"""The trainer on two devices of one machine: torchrun, and processes that do what it does."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cl_haystack.data import RetrievalTask, read_pairs
from cl_haystack.errors import DataError, TrainingError, TrainingInterruptedError
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder
from cl_haystack.training.losses import CoSENT, InfoNCE
from cl_haystack.training.training_set import TrainingSet
from tests.unit.training.processes import run, run_together
from tests.unit.training.runs import (
    Signal,
    Steep,
    assert_nearly_the_same_model,
    assert_same_weights,
    changed,
    embeddings,
    many_pairs,
    pairs_to_learn,
    weights,
)

OPTIONS: dict[str, Any] = {"num_epochs": 3, "learning_rate": 5e-3, "save_interval_s": 1_000}


def two_sets() -> list[TrainingSet]:
    graded = [p.model_copy(update={"score": (i % 4) / 4}) for i, p in enumerate(many_pairs(11))]
    return [
        TrainingSet(many_pairs(21, negatives=lambda i: i % 3), loss=InfoNCE(learn_scale=True)),
        TrainingSet(graded, loss=CoSENT()),
    ]


def train(checkpoint: Path, out: Path, **options: Any) -> None:
    """Train all processes' share and save once."""
    trainer = ContrastiveTrainer(checkpoint, config=changed(**OPTIONS | options))
    trainer.train(two_sets())
    trainer.save(out)


def at_once(checkpoint: Path, out: Path) -> None:
    train(checkpoint, out, batch_size=4)


def in_chunks(checkpoint: Path, out: Path) -> None:
    train(checkpoint, out, batch_size=4, mini_batch_size=3)


def accumulating(checkpoint: Path, out: Path) -> None:
    train(checkpoint, out, batch_size=4, gradient_accumulation_steps=2)


def on_one_device(checkpoint: Path, out: Path, **options: Any) -> None:
    train(checkpoint, out, batch_size=8, **options)


def accumulating_on_one_device(checkpoint: Path, out: Path) -> None:
    train(checkpoint, out, batch_size=8, gradient_accumulation_steps=2)


def assert_nearly_the_same(found: Path, expected: Path, before: Path) -> None:
    assert_nearly_the_same_model(
        *(embeddings(SentenceEncoder.load(path)) for path in (found, expected, before))
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("together", "alone"),
    [(at_once, on_one_device), (in_chunks, on_one_device), (accumulating, accumulating_on_one_device)],
)
def test_two_devices_train_like_one_with_batches_twice_as_large(
    checkpoint: Path, tmp_path: Path, together: Any, alone: Any
) -> None:
    run_together(2, together, checkpoint, tmp_path / "two")
    run(alone, checkpoint, tmp_path / "one")
    assert_nearly_the_same(tmp_path / "two", tmp_path / "one", checkpoint)


@pytest.mark.slow
def test_torchrun(checkpoint: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    command += [f"--master-port={port}", "-m", __spec__.name, str(checkpoint), str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    run(on_one_device, checkpoint, tmp_path / "one")
    assert_nearly_the_same(tmp_path / "two", tmp_path / "one", checkpoint)


def until_told_to_stop(checkpoint: Path, folder: Path) -> None:
    """Only one of the two is told; both save and stop, go on together, and end as if nothing had been."""
    rank = int(os.environ["RANK"])
    stop = [Signal(signal.SIGTERM, 4)] if rank == 1 else []
    config = changed(**OPTIONS | {"batch_size": 4, "dropout": 0.2})
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=stop)
    undisturbed = ContrastiveTrainer(checkpoint, config=config)
    undisturbed.train(two_sets())
    with pytest.raises(TrainingInterruptedError, match="stopped by SIGTERM after step 4 of"):
        trainer.train(two_sets(), state=folder / "state")
    trainer.train(two_sets(), state=folder / "state", resume=True)
    assert_same_weights(weights(trainer.encoder), weights(undisturbed.encoder))


@pytest.mark.slow
def test_a_signal_to_one_device_stops_all_and_all_resume(checkpoint: Path, tmp_path: Path) -> None:
    run_together(2, until_told_to_stop, checkpoint, tmp_path)
    (state,) = (tmp_path / "state").glob("checkpoint-*")
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in state.iterdir()}


def with_a_task(checkpoint: Path, folder: Path, task: RetrievalTask) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=changed(**OPTIONS | {"evaluations": 2, "batch_size": 4}))
    report = trainer.train(pairs_to_learn(20), task=task, state=folder / "state")
    rank = os.environ["RANK"]
    torch.save((report.evaluations, weights(trainer.encoder)), folder / f"result-{rank}")


@pytest.mark.slow
def test_both_devices_evaluate_and_keep_the_same_best_weights(
    checkpoint: Path, tmp_path: Path, task: RetrievalTask
) -> None:
    run_together(2, with_a_task, checkpoint, tmp_path, task)
    (evaluations, first), (others, second) = (torch.load(tmp_path / f"result-{rank}") for rank in range(2))
    assert evaluations == others
    assert len(evaluations) == 2
    assert_same_weights(first, second)


def with_too_few_rows(checkpoint: Path, pairs: list[Any]) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=changed(batch_size=1))
    with pytest.raises(DataError, match="no batch of the training pairs"):
        trainer.train(pairs)


def test_fewer_rows_than_devices(checkpoint: Path) -> None:
    run_together(2, with_too_few_rows, checkpoint, many_pairs(1, negatives=lambda _: 2))


def refreshing_without_a_state(checkpoint: Path, folder: Path) -> None:
    pairs = many_pairs(16)
    remined = [pair.model_copy(update={"negatives": ("the cat",)}) for pair in pairs]
    trainer = ContrastiveTrainer(checkpoint, config=changed(**OPTIONS))
    trainer.train([TrainingSet(pairs, remine=lambda: remined)])


def test_all_devices_read_the_negatives_that_one_mined_without_a_state(
    checkpoint: Path, tmp_path: Path
) -> None:
    run_together(2, refreshing_without_a_state, checkpoint, tmp_path)


def with_weights_that_are_no_numbers(checkpoint: Path, folder: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=changed(**OPTIONS))
    with torch.no_grad():
        trainer.encoder.transformer.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1 is nan.*state\.not-finite-step-1\.jsonl"):
        trainer.train(many_pairs(8), state=folder / "state")


def with_a_gradient_that_is_no_number_on_one_device(checkpoint: Path, folder: Path) -> None:
    loss = Steep(1 if os.environ["RANK"] == "1" else 0)
    trainer = ContrastiveTrainer(checkpoint, loss=loss, config=changed(**OPTIONS))
    with pytest.raises(TrainingError, match=r"gradients of step 1 is nan.*state\.not-finite-step-1\.jsonl"):
        trainer.train(many_pairs(8), state=folder / "state")
    assert_same_weights(weights(trainer.encoder), weights(SentenceEncoder.load(checkpoint)))


def test_a_gradient_that_is_not_finite_on_one_device_stops_all(checkpoint: Path, tmp_path: Path) -> None:
    run_together(2, with_a_gradient_that_is_no_number_on_one_device, checkpoint, tmp_path)
    assert len(list(read_pairs(tmp_path / "state.not-finite-step-1.jsonl"))) == 8


def test_the_batch_of_all_devices_is_saved(checkpoint: Path, tmp_path: Path) -> None:
    run_together(2, with_weights_that_are_no_numbers, checkpoint, tmp_path)
    saved = list(read_pairs(tmp_path / "state.not-finite-step-1.jsonl"))
    assert sorted(pair.anchor for pair in saved) == sorted(pair.anchor for pair in many_pairs(8))


if __name__ == "__main__":
    torch.set_num_threads(1)
    at_once(Path(sys.argv[1]), Path(sys.argv[2]))
