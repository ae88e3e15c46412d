"""The loop: it learns, it repeats itself from a seed, it says what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cl_haystack.data import Pair
from cl_haystack.errors import DataError, TrainingError
from cl_haystack.progress import Progress
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder, TrainingConfig
from cl_haystack.training.checkpoint import read_layout
from cl_haystack.training.losses import InfoNCE
from tests.tiny_model import make_tiny_checkpoint

# Synonyms that no random model knows: the positive shares no word with its anchor.
PAIRS = [
    Pair(anchor="cat", positive="red"),
    Pair(anchor="dog", positive="blue"),
    Pair(anchor="house", positive="mat", negatives=("runs", "sat")),
    Pair(anchor="query", positive="passage"),
]
CONFIG = TrainingConfig(num_epochs=30, batch_size=4, learning_rate=1e-2)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_tiny_checkpoint(tmp_path)


def ranks(encoder: SentenceEncoder) -> list[int]:
    """Rank of each anchor's positive among all positives, 0 is best."""
    similarities = (
        encoder.encode_queries([p.anchor for p in PAIRS])
        @ encoder.encode_documents([p.positive for p in PAIRS]).T
    )
    return [int((row > row[i]).sum()) for i, row in enumerate(similarities)]


def test_training_teaches_the_pairs_and_the_checkpoint_holds_it(checkpoint: Path, tmp_path: Path) -> None:
    before = ranks(SentenceEncoder.load(checkpoint))
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    seen: list[Progress] = []
    report = trainer.train(PAIRS, on_progress=seen.append)
    trainer.save(tmp_path / "tuned")
    assert sum(before) > 0
    assert ranks(SentenceEncoder.load(tmp_path / "tuned")) == [0, 0, 0, 0]
    assert report.last_loss < report.first_loss / 2
    assert (report.steps, report.num_pairs) == (30, 4)
    assert seen[-1].done == seen[-1].total == 30


def test_record_of_the_run_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, loss=InfoNCE(scale=10), config=CONFIG)
    trainer.train(PAIRS, datasets=[{"path": "pairs.jsonl", "sha256": "0" * 64, "bytes": 1, "licence": "CC0"}])
    trainer.save(tmp_path / "tuned")
    record = read_layout(tmp_path / "tuned").training
    assert record["loss"] == {"name": "infonce", "scale": 10, "temperature": 0.1, "both_directions": True}
    assert record["datasets"][0]["licence"] == "CC0"
    assert record["hyperparameters"]["learning_rate"] == 1e-2
    assert record["seed"] == CONFIG.seed


def test_same_seed_same_weights(checkpoint: Path) -> None:
    vectors = []
    for seed in (1, 1, 2):
        trainer = ContrastiveTrainer(
            checkpoint, config=CONFIG.model_copy(update={"seed": seed, "num_epochs": 2})
        )
        trainer.train(PAIRS)
        vectors.append(trainer.encoder.encode_queries(["the cat"]))
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not np.allclose(vectors[0], vectors[2], atol=1e-4)


def test_max_length_of_training_is_that_of_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    trainer = ContrastiveTrainer(
        checkpoint, config=CONFIG.model_copy(update={"num_epochs": 1, "max_length": 8})
    )
    trainer.train(PAIRS)
    trainer.save(tmp_path / "tuned")
    assert SentenceEncoder.load(tmp_path / "tuned").max_length == 8


@pytest.mark.parametrize("pairs", [[], PAIRS[:1]])
def test_too_few_pairs(checkpoint: Path, pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="at least 2"):
        ContrastiveTrainer(checkpoint, config=CONFIG).train(pairs)


def test_loss_that_is_not_finite_names_step_and_batch(checkpoint: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    with torch.no_grad():
        trainer.encoder.transformer.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1 is nan.*anchor"):
        trainer.train(PAIRS)


def test_nothing_to_save_before_training(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="call train first"):
        ContrastiveTrainer(checkpoint).save(tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()
