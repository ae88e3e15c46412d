"""AdamW: which parameter learns at which rate, and which of them decay."""

from pathlib import Path

import pytest

from cl_haystack.training.loop import TrainedModel
from cl_haystack.training.losses import CoSENT, InfoNCE
from cl_haystack.training.optimizer import _layer_of, make_optimizer
from tests.tiny_model import make_tiny_encoder
from tests.unit.training.runs import changed


def options_by_name(folder: Path, **options: object) -> dict[str, tuple[float, float]]:
    model = TrainedModel(make_tiny_encoder(folder), [InfoNCE(learn_scale=True), CoSENT()])
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, changed(**options))
    found = {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found.keys() == set(names.values())
    return found


def test_layers_learn_more_slowly_the_lower_they_are(tmp_path: Path) -> None:
    found = options_by_name(tmp_path, learning_rate=1.0, layer_decay=0.5, weight_decay=0.1)
    prefix = "encoder.transformer"
    assert found[f"{prefix}.encoder.layer.1.output.dense.weight"] == (1.0, 0.1)
    assert found[f"{prefix}.encoder.layer.0.output.dense.weight"] == (0.5, 0.1)
    assert found[f"{prefix}.embeddings.word_embeddings.weight"] == (0.25, 0.1)
    assert found[f"{prefix}.encoder.layer.1.output.LayerNorm.weight"] == (1.0, 0.0)
    assert found[f"{prefix}.encoder.layer.0.output.dense.bias"] == (0.5, 0.0)
    assert found[f"{prefix}.embeddings.LayerNorm.weight"] == (0.25, 0.0)
    assert found["losses.0.log_scale"] == (10.0, 0.0)


def test_without_layer_decay_all_learn_alike(tmp_path: Path) -> None:
    found = options_by_name(tmp_path, learning_rate=1.0)
    assert {rate for name, (rate, _) in found.items() if name.startswith("encoder")} == {1.0}


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("transformer.embeddings.tok_embeddings.weight", 0),
        ("transformer.encoder.layer.3.attention.self.query.weight", 4),  # BERT, RoBERTa, MPNet
        ("transformer.layers.21.mlp.Wi.weight", 22),  # ModernBERT, NomicBERT
        ("transformer.final_norm.weight", None),
        ("transformer.base_model.model.encoder.layer.0.output.dense.lora_A.default.weight", 1),
    ],
)
def test_layers_are_told_by_name(name: str, layer: int | None) -> None:
    assert _layer_of(name) == layer


def test_what_comes_after_the_layers_learns_like_the_top(tmp_path: Path) -> None:
    """A last norm (ModernBERT) and a pooler (BERT) are no embeddings."""
    found = options_by_name(tmp_path, learning_rate=1.0, layer_decay=0.5)
    assert found["encoder.transformer.pooler.dense.bias"] == (1.0, 0.0)
