"""Training on a GPU: the same as on a CPU, in every precision, in bounded memory, and after an interruption.

CI has no GPU, so these tests run where a person has one: ``pytest -m gpu``.
"""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cl_haystack.errors import TrainingInterruptedError
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder
from tests.unit.training.runs import (
    PAIRS,
    Signal,
    assert_nearly_the_same_model,
    assert_same_weights,
    changed,
    embeddings,
    many_pairs,
    weights,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


def tuned(checkpoint: Path, pairs: Any = PAIRS, device: str = "cuda", **options: Any) -> SentenceEncoder:
    trainer = ContrastiveTrainer(checkpoint, config=changed(**options), device=device)
    trainer.train(pairs)
    return trainer.encoder


def test_a_model_embeds_alike_on_both(checkpoint: Path) -> None:
    on_cpu, on_gpu = (embeddings(SentenceEncoder.load(checkpoint, device=d)) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mini_batch_size": 3},
        {"gradient_checkpointing": True},
        {"num_workers": 2},
        {"compile": True},
    ],
    ids=str,
)
def test_a_gpu_trains_what_a_cpu_trains(checkpoint: Path, options: dict[str, Any]) -> None:
    pairs = many_pairs(10, negatives=lambda i: i % 3)
    expected = tuned(checkpoint, pairs, device="cpu")
    found = tuned(checkpoint, pairs, **options)
    assert found.device.type == "cuda"
    assert_nearly_the_same_model(
        embeddings(found), embeddings(expected), embeddings(SentenceEncoder.load(checkpoint))
    )


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16", "fp32"])
def test_every_precision_learns_the_pairs(checkpoint: Path, precision: str) -> None:
    model = tuned(checkpoint, precision=precision, num_epochs=30)
    similarities = (
        model.encode_queries([pair.anchor for pair in PAIRS])
        @ model.encode_documents([pair.positive for pair in PAIRS]).T
    )
    assert similarities.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_a_cpu_opens_what_a_gpu_has_trained(checkpoint: Path, tmp_path: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=changed(), device="cuda")
    trainer.train(PAIRS)
    trainer.save(tmp_path / "tuned")
    found = embeddings(SentenceEncoder.load(tmp_path / "tuned"))
    np.testing.assert_allclose(found, embeddings(trainer.encoder), atol=1e-5)


def test_an_interrupted_run_goes_on_to_the_same_weights(checkpoint: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"dropout": 0.2, "num_epochs": 6}
    expected = tuned(checkpoint, many_pairs(12), **options)
    stopping = ContrastiveTrainer(
        checkpoint, config=changed(**options), device="cuda", callbacks=[Signal(signal.SIGTERM, 5)]
    )
    with pytest.raises(TrainingInterruptedError):
        stopping.train(many_pairs(12), state=tmp_path / "state")
    trainer = ContrastiveTrainer(checkpoint, config=changed(**options), device="cuda")
    trainer.train(many_pairs(12), state=tmp_path / "state", resume=True)
    assert_same_weights(weights(trainer.encoder), weights(expected))


def test_cached_batches_take_the_memory_of_a_part(checkpoint: Path) -> None:
    pairs = many_pairs(2_000)

    def peak(**options: Any) -> int:
        torch.cuda.reset_peak_memory_stats()
        tuned(checkpoint, pairs, batch_size=2_000, num_epochs=1, **options)
        return torch.cuda.max_memory_allocated()

    whole, cached = peak(), peak(mini_batch_size=32)
    assert cached < whole / 2, f"{cached:,} and {whole:,} bytes"
