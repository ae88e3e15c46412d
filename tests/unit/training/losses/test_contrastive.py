"""Contrastive and online contrastive: against loops and sentence-transformers."""

from dataclasses import replace
from importlib.metadata import version

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from cl_haystack.training.losses import (
    Batch,
    Contrastive,
    OnlineContrastive,
    contrastive,
    online_contrastive,
)
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, few_examples, rows

LABELS = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64)


@few_examples
@given(
    labels=st.lists(st.integers(0, 1), min_size=1, max_size=8),
    margin=st.sampled_from([0.1, 0.5, 1.5]),
    seed=st.integers(0, 99),
)
def test_values_are_the_formulas(labels: list[int], margin: float, seed: int) -> None:
    """Batches with one kind of pair only, or one pair of a kind, included."""
    distances = rows(len(labels), 1, seed)[:, 0].sigmoid() * 2
    weights = [float(i + 1) for i in range(len(labels))]
    found = contrastive(distances, torch.tensor(labels), torch.tensor(weights), margin=margin)
    assert found.item() == pytest.approx(reference.contrastive(distances.tolist(), labels, margin, weights))
    found = online_contrastive(distances, torch.tensor(labels), margin=margin)
    assert found.item() == pytest.approx(reference.online_contrastive(distances.tolist(), labels, margin))


@pytest.mark.parametrize("margin", [0.5, 1.2])
@pytest.mark.parametrize("ours", [Contrastive, OnlineContrastive])
def test_equals_sentence_transformers(ours, margin) -> None:
    from sentence_transformers.sentence_transformer import losses

    theirs = getattr(losses, f"{ours.__name__}Loss")(torch.nn.Identity(), margin=margin)
    batch = replace(Batch.of_distinct_texts(6), labels=LABELS)
    assert_same(
        lambda anchors, positives: ours(margin=margin)(anchors, positives, batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), LABELS),
        rows(6, 5, 0),
        rows(6, 5, 1),
    )


@pytest.mark.parametrize(
    "labels",
    [
        [1, 1, 1],
        [0, 0, 0],
        *(
            pytest.param(
                labels,
                marks=pytest.mark.skipif(
                    Version(version("sentence-transformers")) < Version("6.2"),
                    reason="sentence-transformers before 6.2 ignores the only pair of a kind",
                ),
            )
            for labels in ([1, 0, 0], [1, 1, 0], [1, 0])
        ),
    ],
)
def test_online_equals_sentence_transformers_where_a_kind_is_rare(labels: list[int]) -> None:
    from sentence_transformers.sentence_transformer.losses import OnlineContrastiveLoss

    theirs = OnlineContrastiveLoss(torch.nn.Identity(), margin=1.5)
    batch = replace(Batch.of_distinct_texts(len(labels)), labels=torch.tensor(labels))
    anchors, positives = rows(len(labels), 5, 0), rows(len(labels), 5, 1)
    expected = theirs.compute_loss_from_embeddings([anchors, positives], torch.tensor(labels))
    assert OnlineContrastive(margin=1.5)(anchors, positives, batch).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("ours", [Contrastive, OnlineContrastive])
def test_euclidean_distances_near_those_of_sentence_transformers(ours) -> None:
    """Theirs adds 1e-6 to every difference of coordinates, so equality ends there."""
    from sentence_transformers.sentence_transformer import losses

    theirs = getattr(losses, f"{ours.__name__}Loss")(
        torch.nn.Identity(), losses.SiameseDistanceMetric.EUCLIDEAN, margin=4.0
    )
    anchors, positives = rows(6, 5, 0), rows(6, 5, 1)
    batch = replace(Batch.of_distinct_texts(6), labels=LABELS)
    expected = theirs.compute_loss_from_embeddings([anchors, positives], LABELS)
    found = ours(margin=4.0, distance="euclidean")(anchors, positives, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_weights_of_the_online_loss_are_shares() -> None:
    distances, labels = torch.tensor([0.9, 0.4, 0.2, 0.1]), torch.tensor([1, 0, 1, 0])
    alike = online_contrastive(distances, labels, torch.full((4,), 3.0))
    assert alike.item() == pytest.approx(online_contrastive(distances, labels).item())
    first = online_contrastive(distances, labels, torch.tensor([1.0, 1e-9, 1e-9, 1e-9]))
    assert first.item() == pytest.approx(4 * 0.9**2)


@pytest.mark.parametrize("function", [contrastive, online_contrastive])
def test_gradient_is_the_derivative(function) -> None:
    distances = torch.tensor([0.9, 0.4, 0.2, 0.1, 0.6, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: function(d, LABELS), (distances,))
