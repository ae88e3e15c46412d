"""Embedding distillation: against loops and sentence-transformers."""

from dataclasses import replace

import pytest
import torch

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.losses import Batch, EmbeddingDistillation, embedding_distillation
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, ragged_batch, rows, unit_rows


@pytest.mark.parametrize("dimension", [6, 4])  # the teacher has 6
@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_value_is_the_formula(distance: str, dimension: int) -> None:
    batch = ragged_batch()
    anchors, candidates = rows(4, dimension, 0), rows(len(batch.owners), dimension, 1)
    expected = reference.embedding_distillation(
        torch.cat([anchors, candidates]).tolist(),
        torch.cat([batch.guide_anchors, batch.guide_candidates]).tolist(),
        distance,
        [*batch.weights.tolist(), *batch.weights[batch.owners].tolist()],
    )
    found = EmbeddingDistillation(distance=distance)(anchors, candidates, batch)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_equals_sentence_transformers(distance: str) -> None:
    from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss

    theirs = EmbedDistillLoss(torch.nn.Identity(), distance_metric=distance)
    teachers = [unit_rows(6, 8, 10 + column) for column in range(3)]
    batch = replace(
        Batch.of_distinct_texts(6, torch.arange(6).repeat(2)),
        guide_anchors=teachers[0],
        guide_candidates=torch.cat(teachers[1:]),
    )
    ours = EmbeddingDistillation(distance=distance)
    assert_same(
        lambda anchors, *columns: ours(anchors, torch.cat(columns), batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), teachers),
        *[rows(6, 8, seed) for seed in range(3)],
    )


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_is_zero_at_the_teacher(distance: str) -> None:
    vectors = unit_rows(4, 6, 0)
    assert embedding_distillation(vectors, vectors, distance=distance).item() == pytest.approx(0)
    assert embedding_distillation(vectors, -vectors, distance=distance).item() > 0.5


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_gradient_is_the_derivative(distance: str) -> None:
    teacher, student = unit_rows(4, 6, 0), rows(4, 6, 1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: embedding_distillation(s, teacher, distance=distance), (student,)
    )


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(4, 6\).*\(4, 5\).*at least as many dimensions"):
        embedding_distillation(rows(4, 6, 0), rows(4, 5, 1))
    with pytest.raises(DataError, match="guide"):
        EmbeddingDistillation()(rows(2, 4, 0), rows(2, 4, 1), Batch.of_distinct_texts(2))
    with pytest.raises(ConfigurationError, match="'cosine', 'mse'"):
        EmbeddingDistillation(distance="l2")
