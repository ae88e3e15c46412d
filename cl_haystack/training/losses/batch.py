"""What a loss may know of a batch beside the embeddings: who owns which candidate, which texts are equal.

Rows are anchors; ``candidates`` are all texts that anchors are compared with: candidate ``i`` is the positive
of anchor ``i``, the hard negatives of the whole batch follow, any number a row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Facts of one batch, none of which has a gradient.

    :param owners: ``(candidates,)``: the row that each candidate was given for; ``owners[:batch]`` is
        ``0, 1, 2, …``.
    :param anchor_ids: ``(batch,)``: equal for equal texts.
    :param candidate_ids: ``(candidates,)``: equal for equal texts.
    :param weights: ``(batch,)``: how much each row counts, > 0; None counts all the same.
    :param scores: ``(batch,)``: graded similarity of anchor and positive, 0 to 1.
    :param labels: ``(batch,)``: 1 where anchor and positive mean the same, else 0.
    :param candidate_scores: ``(candidates,)``: a teacher's score of each candidate for its owner.
    :param guide_anchors: ``(batch, guide_dim)``: vectors of the anchors by a guide or teacher model, of any
        length.
    :param guide_candidates: ``(candidates, guide_dim)``: the same of the candidates.
    """

    owners: Tensor
    anchor_ids: Tensor
    candidate_ids: Tensor
    weights: Tensor | None = None
    scores: Tensor | None = None
    labels: Tensor | None = None
    candidate_scores: Tensor | None = None
    guide_anchors: Tensor | None = None
    guide_candidates: Tensor | None = None

    @classmethod
    def of_distinct_texts(cls, num_anchors: int, owners: Tensor | None = None) -> "Batch":
        """Make a batch in which no text occurs twice.

        :param num_anchors: rows.
        :param owners: ``(candidates,)``; None means one positive a row and no hard negatives.
        :returns: the batch.
        """
        owners = torch.arange(num_anchors) if owners is None else owners
        return cls(
            owners=owners,
            anchor_ids=torch.arange(num_anchors, device=owners.device),
            candidate_ids=num_anchors + torch.arange(len(owners), device=owners.device),
        )

    @property
    def num_anchors(self) -> int:
        """Rows of the batch."""
        return len(self.anchor_ids)
