"""The trainer: it learns, it repeats itself from a seed, it says what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cl_haystack.data import Pair, read_pairs
from cl_haystack.errors import DataError, TrainingError
from cl_haystack.progress import Progress
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder
from cl_haystack.training.checkpoint import read_layout
from cl_haystack.training.losses import InfoNCE
from cl_haystack.training.training_set import TrainingSet
from tests.unit.training.runs import CONFIG, PAIRS, assert_same_weights, changed, trained, weights


def ranks(encoder: SentenceEncoder) -> list[int]:
    """Rank of each anchor's positive among all positives, 0 is best."""
    similarities = (
        encoder.encode_queries([p.anchor for p in PAIRS])
        @ encoder.encode_documents([p.positive for p in PAIRS]).T
    )
    return [int((row > row[i]).sum()) for i, row in enumerate(similarities)]


def test_training_teaches_the_pairs_and_the_checkpoint_holds_it(checkpoint: Path, tmp_path: Path) -> None:
    before = ranks(SentenceEncoder.load(checkpoint))
    trainer = ContrastiveTrainer(checkpoint, config=changed(num_epochs=30))
    seen: list[Progress] = []
    report = trainer.train(PAIRS, on_progress=seen.append)
    trainer.save(tmp_path / "tuned")
    assert sum(before) > 0
    assert ranks(SentenceEncoder.load(tmp_path / "tuned")) == [0, 0, 0, 0]
    assert report.last_loss < report.first_loss / 2
    assert (report.steps, report.num_pairs, report.unused_pairs) == (30, 4, 0)
    assert [step.done for step in seen] == list(range(1, 31))
    assert {step.total for step in seen} == {30}
    assert "loss" in seen[-1].note
    assert "pairs/s" in seen[-1].note


def test_record_of_the_run_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    provenance = {"path": "pairs.jsonl", "sha256": "0" * 64, "bytes": 1, "licence": "CC0"}
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    trainer.train([TrainingSet(PAIRS, loss=InfoNCE(scale=10), name="synonyms", provenance=provenance)])
    trainer.save(tmp_path / "tuned")
    record = read_layout(tmp_path / "tuned").training
    assert (record["loss"]["name"], record["loss"]["scale"], record["loss"]["temperature"]) == (
        "infonce",
        10,
        0.1,
    )
    assert record["datasets"] == [{"name": "synonyms", **provenance, "num_pairs": 4, "loss": record["loss"]}]
    assert record["hyperparameters"] == CONFIG.model_dump(mode="json")
    assert (record["seed"], record["num_pairs"], record["steps"]) == (CONFIG.seed, 4, 2)
    assert record["scores"]["num_pairs"] == 4


def test_same_seed_same_weights(checkpoint: Path) -> None:
    first, again, other = (weights(trained(checkpoint, dropout=0.1, seed=seed).encoder) for seed in (1, 1, 2))
    assert_same_weights(again, first)
    name = "transformer.encoder.layer.0.output.dense.weight"
    assert not torch.allclose(other[name], first[name], atol=1e-4)


def test_max_length_of_training_is_that_of_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    trained(checkpoint, max_length=8).save(tmp_path / "tuned")
    assert SentenceEncoder.load(tmp_path / "tuned").max_length == 8


@pytest.mark.parametrize("pairs", [[], PAIRS[:1]])
def test_too_few_pairs(checkpoint: Path, pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="is empty" if not pairs else "at least 2"):
        trained(checkpoint, pairs)


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


def test_nothing_to_save_before_training(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="call train first"):
        ContrastiveTrainer(checkpoint).save(tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_vectors_of_the_saved_checkpoint_are_those_of_the_trainer(checkpoint: Path, tmp_path: Path) -> None:
    trainer = trained(checkpoint)
    trainer.save(tmp_path / "tuned")
    texts = ["the cat", "house mat"]
    np.testing.assert_array_equal(
        SentenceEncoder.load(tmp_path / "tuned").encode_queries(texts), trainer.encoder.encode_queries(texts)
    )
