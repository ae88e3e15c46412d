"""Weights between the base model's and the tuned ones: the formula, number by number."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cl_haystack.data import RetrievalTask
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder
from cl_haystack.training.averaging import average, averaged, copy_of_weights
from tests.unit.training.runs import PAIRS, assert_same_weights, changed, trained, weights


def test_average_is_the_weighted_mean_of_each_number() -> None:
    module = nn.BatchNorm1d(3)
    base = {name: torch.full_like(value, 2) for name, value in module.state_dict().items()}
    with torch.no_grad():
        module.weight.copy_(torch.tensor([10.0, 20.0, 30.0]))
    counter = module.state_dict()["num_batches_tracked"].clone()
    average(module, base, 0.25)
    torch.testing.assert_close(module.weight.data, 0.25 * 2 + 0.75 * torch.tensor([10.0, 20.0, 30.0]))
    assert torch.equal(module.state_dict()["num_batches_tracked"], counter)


def test_averaged_only_while_the_block_runs() -> None:
    module = nn.Linear(2, 2)
    tuned = copy_of_weights(module)
    base = {name: torch.zeros_like(value) for name, value in tuned.items()}
    with averaged(module, base, 0.5):
        torch.testing.assert_close(module.weight.data, tuned["weight"] / 2)
    assert_same_weights(copy_of_weights(module), tuned)
    with pytest.raises(KeyError), averaged(module, base, 0.5):
        raise KeyError
    assert_same_weights(copy_of_weights(module), tuned)


@pytest.mark.parametrize("base_weight", [0.0, 0.3, 0.9])
def test_training_ends_between_the_base_and_the_tuned_model(checkpoint: Path, base_weight: float) -> None:
    base = weights(SentenceEncoder.load(checkpoint))
    tuned = weights(trained(checkpoint, base_weight=0.0).encoder)
    found = weights(trained(checkpoint, base_weight=base_weight).encoder)
    if base_weight == 0:
        assert_same_weights(found, tuned)
    moved = 0
    for name in found:
        expected = (1 - base_weight) * tuned[name].double() + base_weight * base[name].double()
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-6, atol=1e-7)
        moved += not torch.equal(tuned[name], base[name])
    assert moved > 20


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_what_is_measured_during_training_is_what_comes_out(
    checkpoint: Path, task: RetrievalTask, lora_rank: int
) -> None:
    """The last evaluation sees the averaged weights, also where adapters stand for them."""
    if lora_rank:
        pytest.importorskip("peft")
    seen: list[np.ndarray] = []
    config = changed(base_weight=0.5, evaluations=1, lora_rank=lora_rank)
    trainer = ContrastiveTrainer(checkpoint, config=config)
    measure = trainer.encoder.encode_queries

    def watched(texts, **options):
        seen.append(measure(texts, **options))
        return seen[-1]

    trainer.encoder.encode_queries = watched  # type: ignore[method-assign]
    trainer.train(PAIRS, task=task)
    result = measure(list(task.queries.values()))
    base = SentenceEncoder.load(checkpoint).encode_queries(list(task.queries.values()))
    assert np.abs(result - base).max() > 1e-3
    np.testing.assert_allclose(seen[0], result, atol=1e-5)
