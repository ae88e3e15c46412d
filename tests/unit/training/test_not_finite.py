"""Losses, gradients and weights that are no numbers end the run, and the batch is kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cl_haystack.data import read_pairs
from cl_haystack.errors import TrainingError
from cl_haystack.training import ContrastiveTrainer
from cl_haystack.training.losses import InfoNCE
from tests.unit.training.runs import CONFIG, PAIRS, Steep, assert_same_weights, changed, many_pairs, weights


def test_loss_that_is_not_finite_names_step_and_saves_its_batch(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    with torch.no_grad():
        trainer.encoder.transformer.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1 is nan.*anchor '.*not-finite-step-1.jsonl"):
        trainer.train(PAIRS)
    saved = list(read_pairs(tmp_path / "not-finite-step-1.jsonl"))
    assert sorted(saved, key=lambda p: p.anchor) == sorted(PAIRS, key=lambda p: p.anchor)


def test_a_loss_that_becomes_infinite_later_names_its_step_and_leaves_the_state(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third step's loss is a stand-in that returns infinity; two batches make a step."""
    own, calls = InfoNCE.forward, []

    def infinite_later(self: Any, *batch: Any) -> Any:
        calls.append(1)
        return own(self, *batch) * (float("inf") if len(calls) == 6 else 1)

    monkeypatch.setattr(InfoNCE, "forward", infinite_later)
    pairs = many_pairs(16, negatives=lambda i: i % 2)
    config = changed(save_interval_s=0, gradient_accumulation_steps=2)
    trainer = ContrastiveTrainer(checkpoint, config=config)
    with pytest.raises(TrainingError, match="the loss of step 3 is inf; its batch") as caught:
        trainer.train(pairs, state=tmp_path / "state")
    (file,) = tmp_path.glob("state.not-finite-step-3.jsonl")
    assert str(file) in str(caught.value)
    saved = list(read_pairs(file))
    assert len(saved) == 8
    assert set(saved) < set(pairs)
    assert (tmp_path / "state" / "checkpoint-2").is_dir()


@pytest.mark.parametrize(
    ("batch", "options"),
    [
        (2, {}),
        (2, {"max_gradient_norm": float("inf")}),
        (3, {"gradient_accumulation_steps": 2}),
        (4, {"gradient_accumulation_steps": 2}),
    ],
    ids=str,
)
def test_a_gradient_that_is_not_finite_stops_before_the_step(
    checkpoint: Path, tmp_path: Path, batch: int, options: dict[str, Any]
) -> None:
    """The loss of the second step is finite, its gradient is not; the weights stay those of the first."""
    config = changed(save_interval_s=0, num_epochs=4, **options)
    trainer = ContrastiveTrainer(checkpoint, loss=Steep(batch), config=config)
    with pytest.raises(TrainingError, match=r"gradients of step 2 is (nan|inf); its batch.*step-2.jsonl"):
        trainer.train(PAIRS, state=tmp_path / "state")
    saved = load_file(tmp_path / "state" / "checkpoint-1" / "model.safetensors")
    saved = {name.removeprefix("encoder."): value for name, value in saved.items()}
    assert_same_weights(weights(trainer.encoder), saved)
    rows = list(read_pairs(tmp_path / "state.not-finite-step-2.jsonl"))
    assert len(rows) == 4 * config.gradient_accumulation_steps
    assert set(rows) == set(PAIRS)


@pytest.mark.parametrize("steps", [1, 3])
def test_weights_that_are_not_finite_are_never_saved(checkpoint: Path, tmp_path: Path, steps: int) -> None:
    config = changed(learning_rate=1e39, schedule="constant", num_epochs=steps, save_interval_s=0)
    trainer = ContrastiveTrainer(checkpoint, config=config)
    with pytest.raises(TrainingError, match="weights are no longer finite after step 1; its batch"):
        trainer.train(PAIRS, state=tmp_path / "state")
    assert not list((tmp_path / "state").glob("checkpoint-*"))
    with pytest.raises(TrainingError, match="call train first"):
        trainer.save(tmp_path / "tuned")


def test_weights_spoiled_by_a_step_are_not_blamed_on_the_next_batch(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = changed(learning_rate=1e39, schedule="constant", num_epochs=3)
    with pytest.raises(TrainingError, match="weights are no longer finite after step 1; its batch"):
        ContrastiveTrainer(checkpoint, config=config).train(PAIRS)
