"""Batch-hard and semi-hard triplets: against loops, against sentence-transformers, and their classes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.errors import DataError
from cl_haystack.training.losses import (
    Batch,
    BatchHardTriplet,
    BatchSemiHardTriplet,
    batch_hard_triplet,
    batch_semi_hard_triplet,
)
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, few_examples, rows

DISTANCES = [("cosine", 0.4), ("euclidean", 1.0)]
CLASSES = st.lists(st.integers(0, 3), min_size=3, max_size=12).filter(lambda classes: len(set(classes)) > 1)


@few_examples
@given(classes=CLASSES, distance=st.sampled_from(DISTANCES), seed=st.integers(0, 99))
def test_values_are_the_formulas(classes: list[int], distance: tuple[str, float], seed: int) -> None:
    """Classes of one text included, which no batch has but the functions must bear."""
    kind, margin = distance
    embeddings, labels = rows(len(classes), 4, seed), torch.tensor(classes)
    for ours, naive in [
        (batch_hard_triplet, reference.batch_hard_triplet),
        (batch_semi_hard_triplet, reference.batch_semi_hard_triplet),
    ]:
        expected = naive(embeddings.tolist(), classes, margin, kind)
        found = ours(embeddings, labels, margin=margin, distance=kind)
        assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("distance", "margin"), DISTANCES)
@pytest.mark.parametrize("classes", [[0, 0, 1, 1, 2, 2], [0, 1, 0, 0, 2, 1, 1, 0], [0, 0, 0, 1]])
@pytest.mark.parametrize("mining", ["hard", "semi_hard"])
def test_equals_sentence_transformers(distance, margin, classes, mining) -> None:
    from sentence_transformers.sentence_transformer.losses import (
        BatchHardTripletLoss,
        BatchHardTripletLossDistanceFunction,
        BatchSemiHardTripletLoss,
    )

    ours, their_class = {
        "hard": (batch_hard_triplet, BatchHardTripletLoss),
        "semi_hard": (batch_semi_hard_triplet, BatchSemiHardTripletLoss),
    }[mining]
    theirs = their_class(
        torch.nn.Identity(), getattr(BatchHardTripletLossDistanceFunction, f"{distance}_distance"), margin
    )
    labels = torch.tensor(classes)
    assert_same(
        lambda embeddings: ours(embeddings, labels, margin=margin, distance=distance),
        lambda embeddings: theirs.compute_loss_from_embeddings([embeddings], labels),
        rows(len(classes), 5, 0),
    )


@pytest.mark.parametrize(("distance", "margin"), DISTANCES)
@pytest.mark.parametrize("function", [batch_hard_triplet, batch_semi_hard_triplet])
def test_gradient_is_the_derivative(distance, margin, function) -> None:
    classes = torch.tensor([0, 0, 1, 1, 1])
    assert torch.autograd.gradcheck(
        lambda e: function(e, classes, margin=margin, distance=distance), (rows(5, 4, 0).requires_grad_(),)
    )


@pytest.mark.parametrize("function", [batch_hard_triplet, batch_semi_hard_triplet])
def test_equal_distances_cost_the_margin(function) -> None:
    corners = torch.eye(4)  # all distances are √2
    loss = function(corners, torch.tensor([0, 0, 1, 1]), margin=0.7, distance="euclidean")
    assert loss.item() == pytest.approx(0.7)


def test_semi_hard_passes_over_the_hardest_negative() -> None:
    """On a line: anchor 0, its positive 2, negatives at 1 (hardest) and 3 (nearest beyond the positive)."""
    points = torch.tensor([[0.0], [2.0], [1.0], [3.0]])
    classes = torch.tensor([0, 0, 1, 2])
    losses = {
        function: function(points, classes, margin=10.0, distance="euclidean").item()
        for function in (batch_hard_triplet, batch_semi_hard_triplet)
    }
    # From 0: 2 - 3 + 10. From 2: no negative is farther than 2, so the farthest, both at 1: 2 - 1 + 10.
    assert losses[batch_semi_hard_triplet] == pytest.approx((9 + 11) / 2)
    # Farthest minus nearest: 2 - 1, 2 - 1, and for the lonely ones 0 - 1 and 0 - 1.
    assert losses[batch_hard_triplet] == pytest.approx((11 + 11 + 9 + 9) / 4)


def test_a_negative_as_far_as_the_positive_is_not_farther() -> None:
    """On a line: anchor 0, its positive 2, negatives at -2 and 3."""
    points, classes = torch.tensor([[0.0], [2.0], [-2.0], [3.0]]), torch.tensor([0, 0, 1, 2])
    loss = batch_semi_hard_triplet(points, classes, margin=10.0, distance="euclidean")
    assert loss.item() == pytest.approx(((2 - 3 + 10) + (2 - 4 + 10)) / 2)


@pytest.mark.parametrize("loss", [BatchHardTriplet(margin=2.0), BatchSemiHardTriplet(margin=2.0)])
@pytest.mark.parametrize(
    ("anchor_ids", "candidate_ids", "classes"),
    [
        ([0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]),
        ([0, 1, 0, 3], [4, 5, 6, 7], [0, 1, 0, 3]),  # the same anchor
        ([0, 1, 2, 3], [4, 5, 5, 7], [0, 1, 1, 3]),  # the same positive
        ([0, 1, 2, 3], [1, 5, 6, 7], [0, 0, 2, 3]),  # one's positive is the other's anchor
        ([0, 0, 2, 3], [4, 5, 5, 7], [0, 0, 0, 3]),  # linked over a third row
        ([0, 1, 2, 3], [7, 6, 7, 6], [0, 1, 0, 1]),
        ([0, 1, 1, 2], [5, 5, 6, 6], [0, 0, 0, 0]),
    ],
)
def test_rows_that_share_a_text_are_one_class(loss, anchor_ids, candidate_ids, classes) -> None:
    anchors, positives = rows(4, 5, 0), rows(4, 5, 1)
    batch = Batch(
        owners=torch.arange(4), anchor_ids=torch.tensor(anchor_ids), candidate_ids=torch.tensor(candidate_ids)
    )
    if len(set(classes)) == 1:
        with pytest.raises(DataError, match="all 8 texts of the batch mean the same"):
            loss(anchors, positives, batch)
        return
    naive = getattr(reference, "batch_" + loss.name.replace("batch-", "").replace("-", "_") + "_triplet")
    expected = naive(torch.cat([anchors, positives]).tolist(), classes * 2, 2.0, "cosine")
    assert loss(anchors, positives, batch).item() == pytest.approx(expected, rel=1e-9)
