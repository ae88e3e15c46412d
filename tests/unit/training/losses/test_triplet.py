"""Triplet: against loops with ragged negatives, and against sentence-transformers."""

import pytest
import torch

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.losses import Batch, Triplet, triplet
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, ragged_batch, rows


@pytest.mark.parametrize(("distance", "margin"), [("cosine", 0.1), ("cosine", 0.5), ("euclidean", 1.0)])
def test_value_is_the_formula(distance: str, margin: float) -> None:
    batch = ragged_batch()
    anchors, candidates = rows(4, 5, 0), rows(len(batch.owners), 5, 1)
    found = Triplet(margin=margin, distance=distance)(anchors, candidates, batch)
    expected = reference.triplet(
        anchors.tolist(),
        candidates.tolist(),
        batch.owners.tolist(),
        margin,
        distance,
        batch.weights.tolist(),
    )
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("distance", "margin"), [("COSINE", 0.3), ("EUCLIDEAN", 1.0)])
def test_equals_sentence_transformers(distance: str, margin: float) -> None:
    from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric, TripletLoss

    theirs = TripletLoss(torch.nn.Identity(), getattr(TripletDistanceMetric, distance), margin)
    ours = Triplet(margin=margin, distance=distance.lower())
    batch = Batch.of_distinct_texts(6, torch.arange(6).repeat(2))
    assert_same(
        lambda anchors, *columns: ours(anchors, torch.cat(columns), batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), None),
        *[rows(6, 8, seed) for seed in range(3)],
    )


def test_equal_distances_cost_the_margin_and_satisfied_triplets_nothing() -> None:
    anchor, near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.1]]), torch.tensor([[-1.0, 0.0]])
    assert triplet(anchor, near, near, margin=0.3).item() == pytest.approx(0.3)
    assert triplet(anchor, near, far, margin=0.3).item() == 0
    assert triplet(anchor, far, near, margin=0.3).item() > 2


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_gradient_is_the_derivative(distance: str) -> None:
    inputs = [rows(4, 5, seed).requires_grad_() for seed in range(3)]
    assert torch.autograd.gradcheck(lambda *x: triplet(*x, margin=1.0, distance=distance), inputs)


def test_needs_negatives() -> None:
    with pytest.raises(DataError, match="hard negatives"):
        Triplet()(rows(2, 4, 0), rows(2, 4, 1), Batch.of_distinct_texts(2))


@pytest.mark.parametrize("options", [{"margin": 0.0}, {"distance": "manhattan"}])
def test_options_that_cannot_work_are_refused(options) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        Triplet(**options)
