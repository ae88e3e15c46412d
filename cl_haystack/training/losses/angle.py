"""AnglE: CoSENT with an angle of complex numbers in place of the cosine, whose gradient vanishes near ±1."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.cosent import cosent
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero
from cl_haystack.training.losses.rows import check_rows, given
from cl_haystack.training.losses.similarity import unit


def angle_similarity(left: Tensor, right: Tensor) -> Tensor:
    """Compare row by row, as vectors of complex numbers.

    The first half of a vector is read as real parts, the second as imaginary ones (an odd dimension gets a
    zero). The similarity is ``|sum(Re(q)) + sum(Im(q))|`` with ``q = left * conj(right)`` of the vectors
    brought to unit length.

    :param left: ``(rows, dim)``.
    :param right: ``(rows, dim)``.
    :returns: ``(rows,)``, 0 to √2.

    Source: Li & Li 2023, arXiv:2309.12871. Equals sentence-transformers' ``pairwise_angle_sim``.
    """
    padding = (0, left.shape[-1] % 2)
    left_real, left_imaginary = F.pad(unit(left), padding).chunk(2, dim=-1)  # (rows, dim / 2)
    right_real, right_imaginary = F.pad(unit(right), padding).chunk(2, dim=-1)  # (rows, dim / 2)
    real = left_real * right_real + left_imaginary * right_imaginary
    imaginary = left_imaginary * right_real - left_real * right_imaginary
    return torch.abs((real + imaginary).sum(dim=-1))  # (rows,)


class AnglE(Loss):
    """CoSENT over :func:`angle_similarity`, for pairs with graded scores.

    :param scale: inverse temperature, > 0; sentence-transformers' default.
    :raises ConfigurationError: ``scale`` is not above 0.

    Source: Li & Li 2023, arXiv:2309.12871. Equals sentence-transformers' ``AnglELoss``.
    """

    name = "angle"
    requires = frozenset({"score"})
    weighted = False

    def __init__(self, *, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = above_zero("scale", scale, 20)

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        similarities = angle_similarity(anchors, candidates[: len(anchors)])  # (batch,)
        return cosent(similarities, given(batch.scores, "score"), scale=self.scale)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "scale": self.scale, "temperature": 1 / self.scale}
