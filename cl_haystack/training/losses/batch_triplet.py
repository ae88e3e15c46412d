"""Triplets made within a batch: every text of another class may serve as the negative.

Batch-hard takes the one triplet of each text that is violated most; semi-hard takes, for each positive, the
nearest negative that is still farther away than the positive, because the very hardest ones of a batch are
often mislabelled. Here a class is a pair, with all pairs that share a text with it.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_haystack.errors import DataError
from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero, one_of
from cl_haystack.training.losses.relevance import text_classes
from cl_haystack.training.losses.rows import check_rows
from cl_haystack.training.losses.similarity import DISTANCES, Distance, all_distances


def batch_hard_triplet(
    embeddings: Tensor, classes: Tensor, *, margin: float = 0.5, distance: Distance = "cosine"
) -> Tensor:
    """Mean over texts of ``max(0, d(farthest of the same class) - d(nearest of another class) + margin)``.

    :param embeddings: ``(texts, dim)``.
    :param classes: ``(texts,)``: equal where texts mean the same; at least two different ones. A text alone
        in its class has 0 as its farthest distance.
    :param margin: > 0, in units of the distance.
    :param distance: ``1 - cosine`` or Euclidean.
    :returns: scalar, in units of the distance; ``margin`` when all distances are equal.
    :raises DataError: all texts are of one class.

    Source: Hermans et al. 2017, arXiv:1703.07737, eq. 5. Equals sentence-transformers'
    ``BatchHardTripletLoss``.
    """
    distances, same_class = _compare_classes(embeddings, classes, distance)  # (texts, texts) each
    farthest = distances.masked_fill(~same_class, 0).max(dim=1).values  # (texts,)
    nearest = distances.masked_fill(same_class, math.inf).min(dim=1).values  # (texts,)
    return F.relu(farthest - nearest + margin).mean()


def batch_semi_hard_triplet(
    embeddings: Tensor, classes: Tensor, *, margin: float = 0.5, distance: Distance = "cosine"
) -> Tensor:
    """Mean over ordered pairs of a class of ``max(0, d(anchor, positive) - d(anchor, negative) + margin)``.

    The negative is the nearest one that is farther than the positive; where there is none, the farthest of
    all. Found by sorting, in ``O(texts² log texts)``, where comparing all triplets takes ``texts³``.

    :param embeddings: ``(texts, dim)``.
    :param classes: ``(texts,)``: equal where texts mean the same; at least two different ones.
    :param margin: > 0, in units of the distance.
    :param distance: ``1 - cosine`` or Euclidean.
    :returns: scalar, in units of the distance; 0 when no class has two texts.
    :raises DataError: all texts are of one class.

    Source: Schroff et al. 2015, arXiv:1503.03832, section 3.2. Equals sentence-transformers'
    ``BatchSemiHardTripletLoss``.
    """
    distances, same_class = _compare_classes(embeddings, classes, distance)  # (texts, texts) each
    negatives = distances.masked_fill(same_class, math.inf).sort(dim=1).values  # (texts, texts)
    farther = torch.searchsorted(negatives.detach(), distances.detach(), right=True)  # (texts, texts)
    nearest_farther = negatives.gather(1, farther.clamp(max=len(distances) - 1))  # (texts, texts)
    farthest = distances.masked_fill(same_class, 0).max(dim=1, keepdim=True).values  # (texts, 1)
    semi_hard = torch.where(nearest_farther.isfinite(), nearest_farther, farthest)  # (texts, texts)
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    losses = F.relu(distances - semi_hard + margin)[same_class & ~itself]  # (positive pairs,)
    return losses.sum() / max(1, len(losses))


class BatchHardTriplet(Loss):
    """Batch-hard triplet loss over anchors and positives.

    :param margin: as for :func:`batch_hard_triplet`.
    :param distance: as for :func:`batch_hard_triplet`.
    :raises ConfigurationError: an option that cannot work.
    """

    name = "batch-hard"
    in_batch_negatives = True
    weighted = False

    def __init__(self, *, margin: float = 0.5, distance: Distance = "cosine") -> None:
        super().__init__()
        self.margin = above_zero("margin", margin, 0.5)
        one_of("distance", distance, DISTANCES)
        self.distance: Distance = distance

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        embeddings, classes = _texts_and_classes(anchors, candidates, batch)
        return batch_hard_triplet(embeddings, classes, margin=self.margin, distance=self.distance)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "margin": self.margin, "distance": self.distance}


class BatchSemiHardTriplet(Loss):
    """Semi-hard triplet loss over anchors and positives.

    :param margin: as for :func:`batch_semi_hard_triplet`.
    :param distance: as for :func:`batch_semi_hard_triplet`.
    :raises ConfigurationError: an option that cannot work.
    """

    name = "semi-hard"
    in_batch_negatives = True
    weighted = False

    def __init__(self, *, margin: float = 0.5, distance: Distance = "cosine") -> None:
        super().__init__()
        self.margin = above_zero("margin", margin, 0.5)
        one_of("distance", distance, DISTANCES)
        self.distance: Distance = distance

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        embeddings, classes = _texts_and_classes(anchors, candidates, batch)
        return batch_semi_hard_triplet(embeddings, classes, margin=self.margin, distance=self.distance)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "margin": self.margin, "distance": self.distance}


def _texts_and_classes(anchors: Tensor, candidates: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    check_rows(anchors, candidates, batch)
    classes = text_classes(batch)  # (batch,)
    embeddings = torch.cat([anchors, candidates[: len(anchors)]])  # (2 * batch, dim)
    return embeddings, torch.cat([classes, classes])


def _compare_classes(embeddings: Tensor, classes: Tensor, distance: Distance) -> tuple[Tensor, Tensor]:
    """Return distances, and which texts are of one class, ``(texts, texts)`` each."""
    same_class = classes[:, None] == classes  # (texts, texts)
    if same_class.all():
        raise DataError(
            f"all {len(classes)} texts of the batch mean the same, so none is a negative; use a batch size "
            "of at least 2, or a batch without duplicates"
        )
    return all_distances(embeddings, distance), same_class
