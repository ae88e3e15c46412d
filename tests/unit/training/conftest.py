"""Fixtures of the tests of training."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cl_haystack.data import RetrievalTask
from tests.tiny_model import make_tiny_checkpoint
from tests.unit.training.runs import pairs_to_learn


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing from a second thread, and wait for it where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny checkpoint of random weights."""
    return make_tiny_checkpoint(tmp_path)


@pytest.fixture
def task(tmp_path: Path) -> RetrievalTask:
    """Questions whose answers a tiny model does not know, and can learn from ``pairs_to_learn(20)``."""
    pairs = pairs_to_learn(20)
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"_id": str(i), "title": "", "text": pair.positive}) for i, pair in enumerate(pairs)]
    corpus.write_text("\n".join(lines))
    return RetrievalTask(
        name="tiny",
        corpus_path=corpus,
        num_documents=len(pairs),
        queries={str(i): pair.anchor for i, pair in enumerate(pairs)},
        qrels={str(i): {str(i): 1} for i in range(len(pairs))},
    )
