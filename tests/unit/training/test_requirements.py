"""What a run is refused without, in one line that says what to do."""

from pathlib import Path

import pytest

from cl_haystack.data import Pair
from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training import ContrastiveTrainer
from cl_haystack.training.losses import DistillKL, EmbeddingDistillation, Loss, MarginMSE, Matryoshka, SimCSE
from tests.unit.training.runs import CONFIG, PAIRS, changed, many_pairs, trained


@pytest.mark.parametrize("pairs", [[], PAIRS[:1]])
def test_too_few_pairs(checkpoint: Path, pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="is empty" if not pairs else "at least 2"):
        trained(checkpoint, pairs)


def test_pairs_of_one_text_teach_nothing(checkpoint: Path) -> None:
    pairs = [Pair(anchor=f"cat {i}", positive="red") for i in "abc"]
    with pytest.raises(DataError, match=r"'pairs' has 3 and loss infonce.* at least 2 pairs of different"):
        trained(checkpoint, pairs)


def test_a_text_is_not_compared_with_itself_without_dropout(checkpoint: Path) -> None:
    with pytest.raises(ConfigurationError, match="dropout is 0, but the loss simcse compares two embeddings"):
        ContrastiveTrainer(checkpoint, loss=SimCSE(), config=changed(dropout=0.0)).train(PAIRS)


@pytest.mark.parametrize(
    "loss",
    [MarginMSE(), DistillKL(), EmbeddingDistillation(), Matryoshka(MarginMSE(), [8])],
    ids=lambda loss: loss.name,
)
def test_a_model_is_not_its_own_teacher(checkpoint: Path, loss: Loss) -> None:
    trainer = ContrastiveTrainer(checkpoint, loss=loss, config=CONFIG)
    with pytest.raises(ConfigurationError, match="learns from a teacher, and 'pairs' has none: name a guide"):
        trainer.train(many_pairs(8, negatives=lambda _: 2))


def test_patience_without_evaluations_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigurationError, match="patience is 2: stopping early needs evaluations"):
        trained(checkpoint, patience=2)


def test_more_tokens_than_the_model_has_positions(checkpoint: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"max_length is 65 tokens, but .* has positions for 64"):
        trained(checkpoint, max_length=65)
