"""InfoNCE: find an anchor's own positive among all candidates of the batch."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_haystack.errors import ConfigurationError, DataError


def info_nce(anchors: Tensor, candidates: Tensor, *, scale: float = 20.0) -> Tensor:
    """Cross-entropy of each anchor's positive against every candidate of the batch.

    Row ``i`` of ``candidates`` is the positive of anchor ``i``; all other rows are its negatives: the other
    positives (in-batch negatives), then the hard negatives of the whole batch. A batch of 64 pairs without
    hard negatives gives each anchor 63 negatives.

    :param anchors: unit vectors, ``(batch, dim)``.
    :param candidates: unit vectors, ``(batch + num_hard_negatives, dim)``, positives first.
    :param scale: inverse temperature, > 0; 20 is a temperature of 0.05.
    :returns: scalar, in nats; ``log(len(candidates))`` when every similarity is equal.
    :raises DataError: ``candidates`` has fewer rows than ``anchors``, or another ``dim``, or there is
        nothing to tell the positive from.

    Source: van den Oord et al. 2018, arXiv:1807.03748, eq. 4. Equals sentence-transformers'
    ``MultipleNegativesRankingLoss`` with its defaults.
    """
    _check_rows(anchors, candidates)
    similarities = anchors @ candidates.T  # (batch, candidates)
    own_positive = torch.arange(len(anchors), device=anchors.device)
    return F.cross_entropy(scale * similarities, own_positive)


@dataclass(frozen=True)
class InfoNCE:
    """InfoNCE with in-batch negatives, over cosine similarities.

    :param scale: inverse temperature, > 0; the default of 20 is sentence-transformers'.
    :param both_directions: also find each positive's anchor among all anchors, and average the two
        losses. Default because it gained more than any other single change on small sets of pairs.
    """

    scale: float = 20.0
    both_directions: bool = True

    name = "infonce"

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigurationError(f"scale is {self.scale}, expected a number above 0, such as 20")

    def __call__(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        """Return the loss of one batch.

        :param anchors: ``(batch, dim)``; scaled to unit length here.
        :param candidates: ``(batch + num_hard_negatives, dim)``, positives first.
        :returns: scalar, in nats.
        """
        anchors, candidates = F.normalize(anchors, dim=-1), F.normalize(candidates, dim=-1)
        loss = info_nce(anchors, candidates, scale=self.scale)
        if not self.both_directions:
            return loss
        backward = info_nce(candidates[: len(anchors)], anchors, scale=self.scale)
        return (loss + backward) / 2

    def parameters(self) -> dict[str, Any]:
        """Return what belongs into the checkpoint's record of the training run."""
        return {"scale": self.scale, "temperature": 1 / self.scale, "both_directions": self.both_directions}


def _check_rows(anchors: Tensor, candidates: Tensor) -> None:
    if len(candidates) < len(anchors) or anchors.shape[1:] != candidates.shape[1:]:
        raise DataError(
            f"anchors are {tuple(anchors.shape)} and candidates {tuple(candidates.shape)}; expected at least "
            "one candidate an anchor, of the same dimension"
        )
    if len(candidates) < 2:
        raise DataError(
            "a batch of one pair without hard negatives has nothing to tell the positive from; use a "
            "batch size of at least 2"
        )
