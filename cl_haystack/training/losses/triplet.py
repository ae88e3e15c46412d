"""Triplet: the negative shall be farther from the anchor than the positive, by a margin; no more is asked."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero, one_of
from cl_haystack.training.losses.rows import check_rows, own_negatives, weighted_mean
from cl_haystack.training.losses.similarity import DISTANCES, Distance, pair_distance


def triplet(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    weights: Tensor | None = None,
    *,
    margin: float = 0.5,
    distance: Distance = "cosine",
) -> Tensor:
    """Weighted mean of ``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` over triplets.

    :param anchors: ``(triplets, dim)``.
    :param positives: ``(triplets, dim)``.
    :param negatives: ``(triplets, dim)``.
    :param weights: ``(triplets,)``, > 0, or None.
    :param margin: > 0, in units of the distance.
    :param distance: ``1 - cosine`` or Euclidean.
    :returns: scalar, in units of the distance; ``margin`` when all distances are equal.

    Source: Schroff et al. 2015, arXiv:1503.03832, eq. 2. Equals sentence-transformers' ``TripletLoss``.
    """
    to_positives = pair_distance(anchors, positives, distance)  # (triplets,)
    to_negatives = pair_distance(anchors, negatives, distance)  # (triplets,)
    return weighted_mean(F.relu(to_positives - to_negatives + margin), weights)


class Triplet(Loss):
    """Triplet loss: each hard negative makes one triplet with the anchor and the positive of its row.

    :param margin: as for :func:`triplet`. The default fits cosine distances; sentence-transformers' 5 is
        for Euclidean distances of vectors that are not of unit length, and no unit vectors ever satisfy it.
    :param distance: as for :func:`triplet`.
    :raises ConfigurationError: an option that cannot work.
    """

    name = "triplet"
    requires = frozenset({"negatives"})

    def __init__(self, *, margin: float = 0.5, distance: Distance = "cosine") -> None:
        super().__init__()
        self.margin = above_zero("margin", margin, 0.5)
        one_of("distance", distance, DISTANCES)
        self.distance: Distance = distance

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        owners, negatives = own_negatives(batch)  # (triplets,)
        weights = None if batch.weights is None else batch.weights[owners]
        return triplet(
            anchors[owners],
            candidates[owners],
            candidates[negatives],
            weights,
            margin=self.margin,
            distance=self.distance,
        )

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "margin": self.margin, "distance": self.distance}
