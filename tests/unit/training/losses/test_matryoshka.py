"""Matryoshka: the sum it claims to be, sentence-transformers', and what it takes over from its loss."""

import pytest
import torch
from torch.nn import functional as F

from cl_haystack.errors import ConfigurationError
from cl_haystack.training.losses import (
    Batch,
    CoSENT,
    EmbeddingDistillation,
    InfoNCE,
    Matryoshka,
    SimCSE,
    Triplet,
)
from tests.unit.training.losses.batches import GivenEmbeddings, assert_same, ragged_batch, rows


@pytest.mark.parametrize("inner", [InfoNCE(), CoSENT(), Triplet(), EmbeddingDistillation(distance="mse")])
def test_value_is_the_sum(inner) -> None:
    batch = ragged_batch()
    anchors, candidates = rows(4, 6, 0), rows(len(batch.owners), 6, 1)
    expected = 0.0
    for dimension, weight in [(6, 1.0), (3, 0.5), (2, 0.25)]:
        cut = [F.normalize(each[:, :dimension], dim=-1) for each in (anchors, candidates)]
        expected += weight * inner(*cut, batch).item()
    found = Matryoshka(inner, [6, 3, 2], [1.0, 0.5, 0.25])(anchors, candidates, batch)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 0.25]])
def test_equals_sentence_transformers(weights) -> None:
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss

    model = GivenEmbeddings(dimension=8)
    theirs = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), [8, 4, 2], weights)
    ours = Matryoshka(InfoNCE(directions=("query_to_doc",)), [8, 4, 2], weights)
    batch = Batch.of_distinct_texts(6, torch.arange(6).repeat(2))
    assert_same(
        lambda anchors, *columns: ours(anchors, torch.cat(columns), batch),
        lambda *columns: theirs([{"embeddings": column} for column in columns], None),
        *[rows(6, 8, seed) for seed in range(3)],
    )


def test_takes_over_what_the_loss_needs() -> None:
    for inner in (InfoNCE(), CoSENT(), Triplet(), EmbeddingDistillation(), SimCSE()):
        outer = Matryoshka(inner, [4, 2])
        for fact in (
            "requires",
            "uses",
            "in_batch_negatives",
            "needs_guide",
            "learns_from_guide",
            "weighted",
            "positive_is_anchor",
        ):
            assert getattr(outer, fact) == getattr(inner, fact)
    assert Matryoshka.requires == frozenset(), "set on the object, not on the class"


def test_shares_what_the_loss_learns() -> None:
    outer = Matryoshka(InfoNCE(learn_scale=True), [4, 2])
    outer(rows(3, 4, 0), rows(3, 4, 1), Batch.of_distinct_texts(3)).backward()
    (parameter,) = outer.parameters()
    assert parameter.grad is not None
    assert parameter.grad != 0


def test_describes_the_loss_inside() -> None:
    assert Matryoshka(Triplet(margin=0.2), [4, 2]).describe() == {
        "name": "matryoshka",
        "loss": {"name": "triplet", "margin": 0.2, "distance": "cosine"},
        "dimensions": [4, 2],
        "weights": [1.0, 1.0],
    }


@pytest.mark.parametrize(
    ("dimensions", "weights", "message"),
    [
        ([], None, "at least one"),
        ([4, 0], None, "above 0"),
        ([4, 4], None, "once"),
        ([4, 2], [1.0], "1 weights for 2 dimensions"),
        ([4, 2], [1.0, 0.0], "weights is 0.0"),
    ],
)
def test_options_that_cannot_work_are_refused(dimensions, weights, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Matryoshka(InfoNCE(), dimensions, weights)


def test_a_dimension_that_the_embeddings_lack_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the embeddings have 4"):
        Matryoshka(InfoNCE(), [8, 4])(rows(3, 4, 0), rows(3, 4, 1), Batch.of_distinct_texts(3))
