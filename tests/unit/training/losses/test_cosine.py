"""Cosine similarity: against loops and sentence-transformers."""

import pytest
import torch

from cl_haystack.training.losses import CosineSimilarity, cosine_similarity
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, ragged_batch, rows


def test_value_is_the_formula() -> None:
    batch = ragged_batch(owners_of_negatives=())
    anchors, positives = rows(4, 5, 0), rows(4, 5, 1)
    expected = reference.cosine_similarity(
        anchors.tolist(), positives.tolist(), batch.scores.tolist(), batch.weights.tolist()
    )
    assert CosineSimilarity()(anchors, positives, batch).item() == pytest.approx(expected, rel=1e-9)


def test_equals_sentence_transformers() -> None:
    from dataclasses import replace

    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    batch = replace(ragged_batch(owners_of_negatives=()), weights=None)
    theirs = CosineSimilarityLoss(torch.nn.Identity())
    assert_same(
        lambda anchors, positives: CosineSimilarity()(anchors, positives, batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), batch.scores),
        rows(4, 5, 0),
        rows(4, 5, 1),
    )


def test_is_zero_where_cosines_are_the_scores() -> None:
    scores = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    assert cosine_similarity(scores, scores).item() == 0
    assert cosine_similarity(scores + 0.1, scores).item() == pytest.approx(0.01)


def test_gradient_is_the_derivative() -> None:
    similarities, scores = rows(5, 1, 0)[:, 0].tanh().requires_grad_(), rows(5, 1, 1)[:, 0].sigmoid()
    assert torch.autograd.gradcheck(lambda s: cosine_similarity(s, scores), (similarities,))
