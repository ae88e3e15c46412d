"""Contrastive: pull pairs of label 1 together, push pairs of label 0 apart until they are a margin apart.

The online form does so only for the hard pairs of a batch: positives farther apart than the nearest
negative, negatives nearer than the farthest positive.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero, one_of
from cl_haystack.training.losses.rows import check_rows, given, weighted_mean
from cl_haystack.training.losses.similarity import DISTANCES, Distance, pair_distance


def contrastive(
    distances: Tensor, labels: Tensor, weights: Tensor | None = None, *, margin: float = 0.5
) -> Tensor:
    """Half the weighted mean of ``label * d² + (1 - label) * max(0, margin - d)²``.

    :param distances: of the two texts of each row, ``(rows,)``.
    :param labels: 1 where they mean the same, else 0, ``(rows,)``.
    :param weights: ``(rows,)``, > 0, or None.
    :param margin: > 0, in units of the distance.
    :returns: scalar, in squared units of the distance.

    Source: Hadsell et al. 2006, doi:10.1109/CVPR.2006.100, eq. 4. Equals sentence-transformers'
    ``ContrastiveLoss``.
    """
    apart, together = F.relu(margin - distances).square(), distances.square()  # (rows,)
    return weighted_mean(torch.where(labels == 1, together, apart), weights) / 2


def online_contrastive(
    distances: Tensor, labels: Tensor, weights: Tensor | None = None, *, margin: float = 0.5
) -> Tensor:
    """Sum over hard pairs of ``d²`` (label 1) or ``max(0, margin - d)²`` (label 0).

    A negative is hard if it is nearer than the farthest positive, a positive if it is farther than the
    nearest negative. Where there is none of the other kind, the mean of its own kind is the bound.

    :param distances: of the two texts of each row, ``(rows,)``.
    :param labels: 1 where they mean the same, else 0, ``(rows,)``.
    :param weights: ``(rows,)``, > 0, or None; only their ratios count, as in a weighted mean.
    :param margin: > 0, in units of the distance.
    :returns: scalar, in squared units of the distance; 0 where no pair is hard.

    Equals ``OnlineContrastiveLoss`` of sentence-transformers 6.2, which is its source; versions before 6.2
    took the mean also where there is one of the other kind.
    """
    positive = labels == 1  # (rows,)
    known = distances.detach()
    positives, negatives = known[positive], known[~positive]  # (positives,), (negatives,)
    farthest_positive = positives.max() if len(positives) else negatives.mean()
    nearest_negative = negatives.min() if len(negatives) else positives.mean()
    hard = torch.where(positive, known > nearest_negative, known < farthest_positive)  # (rows,)
    losses = torch.where(positive, distances, F.relu(margin - distances)).square() * hard  # (rows,)
    return len(losses) * weighted_mean(losses, weights)


class Contrastive(Loss):
    """Contrastive loss, for pairs with labels 0 and 1.

    :param margin: as for :func:`contrastive`.
    :param distance: ``1 - cosine`` or Euclidean.
    :raises ConfigurationError: an option that cannot work.
    """

    name = "contrastive"
    requires = frozenset({"label"})

    def __init__(self, *, margin: float = 0.5, distance: Distance = "cosine") -> None:
        super().__init__()
        self.margin = above_zero("margin", margin, 0.5)
        one_of("distance", distance, DISTANCES)
        self.distance: Distance = distance

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        distances = pair_distance(anchors, candidates[: len(anchors)], self.distance)  # (batch,)
        return contrastive(distances, given(batch.labels, "label"), batch.weights, margin=self.margin)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "margin": self.margin, "distance": self.distance}


class OnlineContrastive(Loss):
    """Contrastive loss over the hard pairs of each batch, for pairs with labels 0 and 1.

    :param margin: as for :func:`online_contrastive`.
    :param distance: ``1 - cosine`` or Euclidean.
    :raises ConfigurationError: an option that cannot work.
    """

    name = "online-contrastive"
    requires = frozenset({"label"})

    def __init__(self, *, margin: float = 0.5, distance: Distance = "cosine") -> None:
        super().__init__()
        self.margin = above_zero("margin", margin, 0.5)
        one_of("distance", distance, DISTANCES)
        self.distance: Distance = distance

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        distances = pair_distance(anchors, candidates[: len(anchors)], self.distance)  # (batch,)
        return online_contrastive(distances, given(batch.labels, "label"), batch.weights, margin=self.margin)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "margin": self.margin, "distance": self.distance}
