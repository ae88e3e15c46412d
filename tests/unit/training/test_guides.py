"""Guides and teachers: models that a loss asks about the texts, or learns from."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cl_haystack.data import Pair
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder
from cl_haystack.training.losses import DistillKL, EmbeddingDistillation, GISTEmbed, Loss, MarginMSE
from tests.tiny_model import make_tiny_checkpoint
from tests.unit.training.runs import CONFIG, assert_same_weights, changed, many_pairs, weights


@pytest.mark.parametrize(
    "loss", [GISTEmbed(), MarginMSE(), DistillKL(), EmbeddingDistillation()], ids=lambda loss: loss.name
)
def test_losses_with_a_guide_or_teacher(checkpoint: Path, tmp_path: Path, loss: Loss) -> None:
    teacher = make_tiny_checkpoint(tmp_path / "teacher", seed=1, query_prefix="query : ")
    before = weights(SentenceEncoder.load(teacher))
    trainer = ContrastiveTrainer(checkpoint, loss=loss, config=changed(num_epochs=20), guide=teacher)
    report = trainer.train(many_pairs(8, negatives=lambda _: 2))
    assert report.last_loss < report.first_loss
    assert_same_weights(weights(SentenceEncoder.load(teacher)), before)


def test_a_guide_that_is_named_goes_before_the_scores_of_pairs(checkpoint: Path, tmp_path: Path) -> None:
    teacher = make_tiny_checkpoint(tmp_path / "teacher", seed=1)
    plain = many_pairs(8, negatives=lambda _: 2)
    scored = [pair.model_copy(update={"candidate_scores": (0.9, 0.5, 0.1)}) for pair in plain]

    def tuned(pairs: list[Pair], guide: Path | None) -> dict[str, Tensor]:
        trainer = ContrastiveTrainer(checkpoint, loss=MarginMSE(), config=CONFIG, guide=guide)
        trainer.train(pairs)
        return weights(trainer.encoder)

    guided = tuned(plain, teacher)
    assert_same_weights(tuned(scored, teacher), guided)
    name = "transformer.encoder.layer.0.output.dense.weight"
    assert not torch.equal(tuned(scored, None)[name], guided[name])


def test_a_model_is_its_own_guide(checkpoint: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, loss=GISTEmbed(), config=CONFIG)
    assert trainer.train(many_pairs(8)).steps == 4


def test_a_student_becomes_its_teacher(checkpoint: Path, tmp_path: Path) -> None:
    """Prefixes included: each reads the texts with its own."""
    teacher = make_tiny_checkpoint(tmp_path / "teacher", seed=1, query_prefix="query : ")
    texts = [pair.anchor for pair in many_pairs(12)]
    trainer = ContrastiveTrainer(
        checkpoint, loss=EmbeddingDistillation(), config=changed(num_epochs=60), guide=teacher
    )
    expected = SentenceEncoder.load(teacher).encode_queries(texts)
    before = (trainer.encoder.encode_queries(texts) * expected).sum(axis=1).mean()
    trainer.train(many_pairs(12))
    assert before < 0.5
    assert (trainer.encoder.encode_queries(texts) * expected).sum(axis=1).mean() > 0.9
