"""AnglE: the similarity against complex numbers, the loss against sentence-transformers."""

from dataclasses import replace

import pytest
import torch

from cl_haystack.training.losses import AnglE, Batch, angle_similarity
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, rows


@pytest.mark.parametrize("dimension", [1, 5, 8])
def test_similarity_is_the_formula(dimension: int) -> None:
    left, right = rows(6, dimension, 0), rows(6, dimension, 1)
    expected = [reference.angle_similarity(x, y) for x, y in zip(left.tolist(), right.tolist(), strict=True)]
    assert angle_similarity(left, right).tolist() == pytest.approx(expected, rel=1e-9)


def test_value_is_the_formula() -> None:
    left, right, scores = rows(6, 4, 0), rows(6, 4, 1), [0.0, 1.0, 0.5, 0.5, 0.2, 0.0]
    batch = replace(Batch.of_distinct_texts(6), scores=torch.tensor(scores))
    similarities = [
        reference.angle_similarity(x, y) for x, y in zip(left.tolist(), right.tolist(), strict=True)
    ]
    expected = reference.cosent(similarities, scores, 3.0)
    assert AnglE(scale=3.0)(left, right, batch).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dimension", [5, 8])
def test_equals_sentence_transformers(dimension: int) -> None:
    from sentence_transformers.sentence_transformer.losses import AnglELoss

    scores = torch.tensor([0.0, 1.0, 0.5, 0.5, 0.25, 0.0], dtype=torch.float64)
    batch = replace(Batch.of_distinct_texts(6), scores=scores)
    theirs = AnglELoss(torch.nn.Identity())
    assert_same(
        lambda anchors, positives: AnglE()(anchors, positives, batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), scores),
        rows(6, dimension, 0),
        rows(6, dimension, 1),
    )


def test_gradient_is_the_derivative() -> None:
    left, right = rows(4, 6, 0).requires_grad_(), rows(4, 6, 1).requires_grad_()
    assert torch.autograd.gradcheck(angle_similarity, (left, right))
