"""Margin-MSE: against loops with ragged negatives, and against sentence-transformers."""

from dataclasses import replace

import pytest
import torch

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.losses import Batch, MarginMSE, margin_mse
from cl_haystack.training.losses.teacher import teacher_scores
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, ragged_batch, rows


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("by_guide", [False, True])
def test_value_is_the_formula(similarity: str, by_guide: bool) -> None:
    batch = ragged_batch()
    if by_guide:
        batch = replace(batch, candidate_scores=None)
        guides = zip(batch.guide_anchors[batch.owners].tolist(), batch.guide_candidates.tolist(), strict=True)
        teacher = [reference.dot(anchor, candidate) for anchor, candidate in guides]
    else:
        teacher = batch.candidate_scores.tolist()
    anchors, candidates = rows(4, 5, 0), rows(len(batch.owners), 5, 1)
    pairs = zip(anchors[batch.owners].tolist(), candidates.tolist(), strict=True)
    student = [getattr(reference, similarity)(anchor, candidate) for anchor, candidate in pairs]
    expected = reference.margin_mse(student, teacher, batch.owners.tolist(), 4, batch.weights.tolist())
    found = MarginMSE(similarity=similarity)(anchors, candidates, batch)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("negatives", [1, 3])
def test_equals_sentence_transformers(negatives: int) -> None:
    from sentence_transformers.sentence_transformer.losses import MarginMSELoss

    scores = rows(6, 1 + negatives, 9)
    batch = replace(
        Batch.of_distinct_texts(6, torch.arange(6).repeat(1 + negatives)), candidate_scores=scores.T.flatten()
    )
    theirs = MarginMSELoss(torch.nn.Identity())
    assert_same(
        lambda anchors, *columns: MarginMSE()(anchors, torch.cat(columns), batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), scores),
        *[rows(6, 8, seed) for seed in range(2 + negatives)],
    )


def test_is_zero_where_the_margins_agree() -> None:
    batch, teacher = ragged_batch(), rows(10, 1, 0)[:, 0]
    shift = torch.tensor([1.0, -2.0, 0.5, 3.0])[batch.owners]  # a constant a row leaves margins as they are
    assert margin_mse(teacher + shift, teacher, batch).item() == pytest.approx(0)
    assert margin_mse(2 * teacher, teacher, batch).item() > 0.01


def test_gradient_is_the_derivative() -> None:
    batch, teacher = ragged_batch(), rows(10, 1, 0)[:, 0]
    student = rows(10, 1, 1)[:, 0].requires_grad_()
    assert torch.autograd.gradcheck(lambda s: margin_mse(s, teacher, batch), (student,))


def test_needs_negatives_and_a_teacher() -> None:
    with pytest.raises(DataError, match="hard negatives"):
        MarginMSE()(rows(4, 5, 0), rows(4, 5, 1), ragged_batch(owners_of_negatives=()))
    batch = Batch.of_distinct_texts(2, torch.tensor([0, 1, 0, 1]))
    with pytest.raises(DataError, match="add 'candidate_scores' to every pair, or name a guide model"):
        MarginMSE()(rows(2, 5, 0), rows(4, 5, 1), batch)
    with pytest.raises(ConfigurationError, match="'cosine', 'dot'"):
        MarginMSE(similarity="euclidean")


def test_the_length_of_the_teachers_vectors_does_not_count() -> None:
    batch = replace(ragged_batch(), candidate_scores=None)
    longer = replace(
        batch, guide_anchors=3 * batch.guide_anchors, guide_candidates=2 * batch.guide_candidates
    )
    torch.testing.assert_close(teacher_scores(longer), teacher_scores(batch))
