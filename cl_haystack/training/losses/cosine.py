"""Cosine similarity: the cosine of a pair shall be its gold score."""

from typing import Any

from torch import Tensor

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.rows import check_rows, given, weighted_mean
from cl_haystack.training.losses.similarity import pair_similarity


def cosine_similarity(similarities: Tensor, scores: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted mean of ``(cosine - score)²``.

    :param similarities: cosine of the two texts of each row, ``(rows,)``.
    :param scores: gold similarity of each row, 0 to 1 (or -1 to 1), ``(rows,)``.
    :param weights: ``(rows,)``, > 0, or None.
    :returns: scalar, in squared cosine.

    Source: Reimers & Gurevych 2019, arXiv:1908.10084, section 3. Equals sentence-transformers'
    ``CosineSimilarityLoss`` with its defaults.
    """
    return weighted_mean((similarities - scores.to(similarities.dtype)).square(), weights)


class CosineSimilarity(Loss):
    """Squared error of the cosine against the gold score, for pairs with graded scores."""

    name = "cosine"
    requires = frozenset({"score"})

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        similarities = pair_similarity(anchors, candidates[: len(anchors)])  # (batch,)
        return cosine_similarity(similarities, given(batch.scores, "score"), batch.weights)

    def describe(self) -> dict[str, Any]:
        """Return the name; there are no parameters."""
        return {"name": self.name}
