"""The distribution of scores: that of a naive loop over the sample."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cl_haystack.data import Pair
from cl_haystack.training import scores
from cl_haystack.training.losses import Contrastive, CoSENT, Loss
from cl_haystack.training.scores import score_distribution
from cl_haystack.training.training_set import TrainingSet
from tests.reference.scores import similarities, summary


class Hashes:
    """An encoder whose vectors are random but a function of the text; not of unit length."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    def encode_queries(self, texts: Sequence[str], **_: Any) -> Any:
        self.queries += texts
        return self._vectors(texts, 1)

    def encode_documents(self, texts: Sequence[str], **_: Any) -> Any:
        return self._vectors(texts, 2)

    def _vectors(self, texts: Sequence[str], kind: int) -> Any:
        rows = [np.random.default_rng([kind, *text.encode()]).normal(0.3, 1, 8) for text in texts]
        return np.array(rows, np.float32) * 3


PAIRS = [Pair(anchor=f"anchor {i % 9}", positive=f"positive {i % 7}") for i in range(23)]


@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
def test_the_distribution_is_that_of_a_naive_loop(batch_size: int) -> None:
    encoder = Hashes()
    found = score_distribution(encoder, TrainingSet(PAIRS), batch_size=batch_size, seed=3)
    order = np.random.default_rng(3).permutation(len(PAIRS))
    texts = [(PAIRS[i].anchor, PAIRS[i].positive) for i in order]
    expected = similarities(
        texts,
        encoder.encode_queries([anchor for anchor, _ in texts]),
        encoder.encode_documents([positive for _, positive in texts]),
        batch_size,
    )
    assert found.pop("num_pairs") == 23
    assert found.keys() == expected.keys()
    assert bool(expected["in_batch_negatives"]) == (batch_size > 1)
    for kind, values in expected.items():
        assert found[kind] == pytest.approx(summary(values), abs=1e-4)


def test_a_sample_of_many_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_SAMPLE", 10)
    encoder = Hashes()
    found = score_distribution(encoder, TrainingSet(PAIRS), batch_size=4, seed=3)
    assert found["num_pairs"] == len(encoder.queries) == 10
    again = score_distribution(Hashes(), TrainingSet(PAIRS), batch_size=4, seed=3)
    assert again == found
    assert score_distribution(Hashes(), TrainingSet(PAIRS), batch_size=4, seed=4) != found


@pytest.mark.parametrize(
    ("loss", "column", "good", "bad"), [(Contrastive(), "label", 1, 0), (CoSENT(), "score", 0.5, 0.4)]
)
def test_pairs_that_do_not_mean_the_same_are_no_positives(
    loss: Loss, column: str, good: float, bad: float
) -> None:
    same = [Pair(anchor=f"text {i}", positive=f"text {i}", **{column: good}) for i in range(4)]
    others = [Pair(anchor=f"one {i}", positive=f"other {i}", **{column: bad}) for i in range(8)]

    class Equal(Hashes):
        def encode_documents(self, texts: Sequence[str], **_: Any) -> Any:
            return self._vectors(texts, 1)

    found = score_distribution(Equal(), TrainingSet([*same, *others], loss=loss), batch_size=4, seed=3)
    assert found["positives"]["p1"] == pytest.approx(1)
    assert found["negatives"]["mean"] < 1
    assert "negatives" not in score_distribution(Equal(), TrainingSet(same, loss=loss), batch_size=4, seed=3)
