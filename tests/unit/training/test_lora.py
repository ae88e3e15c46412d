"""Adapters: only they learn, they end in the weights, and nobody sees them afterwards."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cl_haystack.errors import MissingExtraError
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder
from cl_haystack.training.lora import add_adapters, merge_adapters
from tests.tiny_model import make_tiny_encoder
from tests.unit.training.runs import PAIRS, assert_same_weights, changed, trained, weights

TEXTS = ["the cat sat", "red house", "query"]


def test_the_merged_model_is_the_adapted_one(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    encoder = make_tiny_encoder(tmp_path)
    names = encoder.state_dict().keys()
    add_adapters(encoder, 2, seed=0)
    adapters = [p for p in encoder.parameters() if p.requires_grad]
    assert 0 < sum(p.numel() for p in adapters) < sum(p.numel() for p in encoder.parameters()) / 3
    before = encoder.encode_queries(TEXTS)
    with torch.no_grad():
        for parameter in adapters:
            parameter.add_(0.1 * torch.randn_like(parameter))
    adapted = encoder.encode_queries(TEXTS)
    assert np.abs(adapted - before).max() > 1e-3
    merge_adapters(encoder)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), adapted, atol=1e-5)
    assert encoder.state_dict().keys() == names
    merge_adapters(encoder)


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}, {"mini_batch_size": 3}])
def test_training_adapters_changes_the_linear_layers_and_nothing_else(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    pytest.importorskip("peft")
    base = weights(SentenceEncoder.load(checkpoint))
    trainer = trained(checkpoint, lora_rank=2, num_epochs=4, **options)
    trainer.save(tmp_path / "tuned")
    stored = load_file(tmp_path / "tuned" / "model.safetensors")
    assert {f"transformer.{name}" for name in stored} == base.keys()
    different = {name for name in stored if not torch.equal(stored[name], base[f"transformer.{name}"])}
    assert len(different) == 2 * 6  # two layers: query, key, value, and three dense ones
    assert all("encoder.layer" in name and name.endswith("weight") for name in different)
    loaded = SentenceEncoder.load(tmp_path / "tuned").encode_queries(TEXTS)
    np.testing.assert_allclose(loaded, trainer.encoder.encode_queries(TEXTS), atol=1e-6)


def test_same_seed_same_adapters(checkpoint: Path) -> None:
    pytest.importorskip("peft")
    torch.manual_seed(1)
    first = trained(checkpoint, lora_rank=2)
    torch.manual_seed(2)
    second = trained(checkpoint, lora_rank=2)
    assert_same_weights(weights(first.encoder), weights(second.encoder))


def test_trained_again_after_merging(checkpoint: Path) -> None:
    pytest.importorskip("peft")
    trainer = trained(checkpoint, lora_rank=2)
    once = weights(trainer.encoder)
    trainer.train(PAIRS)
    assert weights(trainer.encoder).keys() == once.keys()
    assert any(not torch.equal(once[name], now) for name, now in weights(trainer.encoder).items())


def test_without_peft_the_extra_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError, match=r"peft.*cl-haystack\[lora\]"):
        ContrastiveTrainer(checkpoint, config=changed(lora_rank=2)).train(PAIRS)
