"""GISTEmbed: InfoNCE that asks a guide model first whether a negative may be a negative.

Whatever the guide finds nearer to a row than the row's own positive, less a margin, is likely a false
negative and is left out of the softmax.
"""

import math
from typing import Any

import torch
from torch import Tensor

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.blocks import losses_by_block
from cl_haystack.training.losses.info_nce import check_negatives
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero, at_least_zero, one_of
from cl_haystack.training.losses.relevance import (
    own_positives,
    related_anchors,
    related_candidates,
    relevant_candidates,
)
from cl_haystack.training.losses.rows import check_rows, weighted_mean
from cl_haystack.training.losses.similarity import unit, widen
from cl_haystack.training.losses.teacher import guide_vectors


def gist_embed(
    anchors: Tensor,
    candidates: Tensor,
    batch: Batch,
    *,
    scale: float = 100.0,
    absolute_margin: float = 0.0,
    relative_margin: float = 0.0,
    contrast_anchors: bool = True,
    contrast_positives: bool = True,
) -> Tensor:
    """Cross-entropy of each anchor's positive against what the guide admits as negatives.

    One softmax a row ``i``, over anchor ``i`` with all candidates, anchor ``i`` with the other anchors, and
    positive ``i`` with the other positives. With ``g`` the guide's cosines, a term counts only if
    ``g(term) <= min(g(i, i) - absolute_margin, g(i, i) - relative_margin * |g(i, i)|)``; the own positive
    always counts, and texts that the batch shows to be relevant never do.

    :param anchors: unit vectors, ``(batch, dim)``.
    :param candidates: unit vectors, ``(candidates, dim)``, positives first.
    :param batch: with ``guide_anchors`` and ``guide_candidates``.
    :param scale: inverse temperature, > 0; 100 is the temperature of 0.01 of the paper.
    :param absolute_margin: at least 0, in the guide's cosine.
    :param relative_margin: at least 0, as a fraction of the positive's similarity by the guide.
    :param contrast_anchors: whether other anchors are negatives of an anchor.
    :param contrast_positives: whether other positives are negatives of a positive.
    :returns: scalar, in nats.
    :raises DataError: shapes do not fit, nothing could be a negative, or there are no guide vectors.

    Source: Solatorio 2024, arXiv:2402.16829; margins: Moreira et al. 2024, arXiv:2407.15831. Equals
    sentence-transformers' ``GISTEmbedLoss`` where no text occurs twice.
    """
    check_rows(anchors, candidates, batch)
    check_negatives(candidates)
    anchors, candidates = widen(anchors), widen(candidates)
    positives = candidates[: len(anchors)]  # (batch, dim)
    guide_anchors, guide_candidates = map(unit, guide_vectors(batch))  # (batch | candidates, guide_dim)
    guide_positives = guide_candidates[: len(anchors)]  # (batch, guide_dim)

    guide_positive = (guide_anchors * guide_positives).sum(dim=-1, keepdim=True)  # (batch, 1)
    margin = (relative_margin * guide_positive.abs()).clamp(min=absolute_margin)  # (batch, 1)
    admitted = guide_positive - margin  # (batch, 1)

    relevant, own = relevant_candidates(batch), own_positives(batch)  # (batch, candidates)
    same_answer = related_anchors(relevant) if contrast_anchors else None  # (batch, batch)
    same_question = (  # (batch, batch)
        related_candidates(relevant)[:, : len(anchors)] if contrast_positives else None
    )

    def losses_of(rows: slice) -> Tensor:
        similarities = anchors[rows] @ candidates.T  # (rows, candidates)
        excluded = (relevant[rows] | (guide_anchors[rows] @ guide_candidates.T > admitted[rows])) & ~own[rows]
        terms = [similarities.masked_fill(excluded, -math.inf)]
        if same_answer is not None:
            excluded = same_answer[rows] | (guide_anchors[rows] @ guide_anchors.T > admitted[rows])
            terms.append((anchors[rows] @ anchors.T).masked_fill(excluded, -math.inf))
        if same_question is not None:
            excluded = same_question[rows] | (guide_positives[rows] @ guide_positives.T > admitted[rows])
            terms.append((positives[rows] @ positives.T).masked_fill(excluded, -math.inf))
        log_partition = (scale * torch.cat(terms, dim=1)).logsumexp(dim=1)  # (rows,)
        return log_partition - scale * similarities.diagonal(offset=rows.start)

    losses = losses_by_block(losses_of, len(anchors), len(candidates))  # (batch,)
    return weighted_mean(losses, batch.weights)


class GISTEmbed(Loss):
    """InfoNCE without the negatives that a guide model takes for relevant, over cosines.

    :param scale: as for :func:`gist_embed`.
    :param absolute_margin: as for :func:`gist_embed`.
    :param relative_margin: as for :func:`gist_embed`.
    :param contrast_anchors: as for :func:`gist_embed`.
    :param contrast_positives: as for :func:`gist_embed`.
    :raises ConfigurationError: an option that cannot work.
    """

    name = "gist"
    uses = frozenset({"negatives"})
    in_batch_negatives = True
    needs_guide = True

    def __init__(
        self,
        *,
        scale: float = 100.0,
        absolute_margin: float = 0.0,
        relative_margin: float = 0.0,
        contrast_anchors: bool = True,
        contrast_positives: bool = True,
    ) -> None:
        super().__init__()
        self.scale = above_zero("scale", scale, 100)
        self.absolute_margin = at_least_zero("absolute_margin", absolute_margin)
        self.relative_margin = at_least_zero("relative_margin", relative_margin)
        one_of("contrast_anchors", contrast_anchors, (True, False))
        one_of("contrast_positives", contrast_positives, (True, False))
        self.contrast_anchors = contrast_anchors
        self.contrast_positives = contrast_positives

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar in nats."""
        return gist_embed(
            unit(anchors),
            unit(candidates),
            batch,
            scale=self.scale,
            absolute_margin=self.absolute_margin,
            relative_margin=self.relative_margin,
            contrast_anchors=self.contrast_anchors,
            contrast_positives=self.contrast_positives,
        )

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {
            "name": self.name,
            "scale": self.scale,
            "temperature": 1 / self.scale,
            "absolute_margin": self.absolute_margin,
            "relative_margin": self.relative_margin,
            "contrast_anchors": self.contrast_anchors,
            "contrast_positives": self.contrast_positives,
        }
