"""CoSENT: a pair with the higher gold score shall be the more similar one. Only the order of scores counts.

The loss sums over all pairs of rows whose scores differ, which as a matrix takes ``rows ** 2`` memory. But a
row needs only one number about all rows below it: the sum of their ``exp(scale * similarity)``. So sort by
score and keep a running sum; ``O(rows * log(rows))``, 100,000 rows in a fraction of a second.
"""

from typing import Any

import torch
from torch import Tensor

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero
from cl_haystack.training.losses.rows import check_rows, given
from cl_haystack.training.losses.similarity import pair_similarity


def cosent(similarities: Tensor, scores: Tensor, *, scale: float = 20.0) -> Tensor:
    """Penalty for pairs of rows that stand in the wrong order.

    ``log(1 + sum of exp(scale * (similarity_j - similarity_i)) over all i, j with score_i > score_j)``.
    Rows of equal score are not compared.

    :param similarities: of the two texts of each row, ``(rows,)``.
    :param scores: gold similarity of each row, in any unit, ``(rows,)``.
    :param scale: inverse temperature, > 0.
    :returns: scalar; ``log(1 + number of ordered pairs)`` when every similarity is equal, 0 when all scores
        are.

    Source: Su 2022, https://kexue.fm/archives/8847. Equals sentence-transformers' ``CoSENTLoss``.
    """
    order = scores.argsort()
    sorted_scores = scores[order].contiguous()  # (rows,)
    logits = scale * similarities[order]  # (rows,)
    log_sums = logits.logcumsumexp(dim=0)  # (rows,): over this row and all before it
    num_lower = torch.searchsorted(sorted_scores, sorted_scores)  # (rows,): rows of a score strictly below
    above = num_lower > 0
    terms = log_sums[num_lower[above] - 1] - logits[above]  # (rows with a lower one,)
    return torch.cat([terms.new_zeros(1), terms]).logsumexp(dim=0)


class CoSENT(Loss):
    """CoSENT over cosines, for pairs with graded scores.

    :param scale: inverse temperature, > 0; sentence-transformers' default.
    :raises ConfigurationError: ``scale`` is not above 0.
    """

    name = "cosent"
    requires = frozenset({"score"})
    weighted = False

    def __init__(self, *, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = above_zero("scale", scale, 20)

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        similarities = pair_similarity(anchors, candidates[: len(anchors)])  # (batch,)
        return cosent(similarities, given(batch.scores, "score"), scale=self.scale)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "scale": self.scale, "temperature": 1 / self.scale}
