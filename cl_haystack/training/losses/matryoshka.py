"""Matryoshka: the first coordinates of an embedding shall be a good embedding by themselves.

So the loss inside is taken once per dimension, on embeddings cut to it and brought back to unit length, as
one uses them later; the results are added up.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cl_haystack.errors import ConfigurationError
from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero
from cl_haystack.training.losses.similarity import unit


class Matryoshka(Loss):
    """Weighted sum of a loss over prefixes of the embeddings: ``sum_d weight_d * loss(unit(x[:d]))``.

    It takes over what the loss inside requires and uses. The full dimension is trained only if it is named.

    :param loss: any loss; its options, and what it learns, are shared by all dimensions.
    :param dimensions: the prefixes, each > 0 and once.
    :param weights: one a dimension, > 0; None means 1 each.
    :raises ConfigurationError: no dimension, one out of range or given twice, or another number of weights.

    Source: Kusupati et al. 2022, arXiv:2205.13147, eq. 1. Equals sentence-transformers' ``MatryoshkaLoss``.
    """

    name = "matryoshka"

    def __init__(self, loss: Loss, dimensions: Sequence[int], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if not dimensions or min(dimensions) < 1 or len(set(dimensions)) < len(dimensions):
            raise ConfigurationError(
                f"dimensions are {list(dimensions)}, expected at least one, each above 0 and once, such as "
                "[384, 128, 64]"
            )
        if weights is not None and len(weights) != len(dimensions):
            raise ConfigurationError(
                f"there are {len(weights)} weights for {len(dimensions)} dimensions; give one a dimension"
            )
        self.loss = loss
        self.dimensions = tuple(dimensions)
        self.weights = tuple(above_zero("weights", weight, 1) for weight in weights or [1] * len(dimensions))
        self.requires = loss.requires
        self.uses = loss.uses
        self.in_batch_negatives = loss.in_batch_negatives
        self.needs_guide = loss.needs_guide
        self.learns_from_guide = loss.learns_from_guide
        self.weighted = loss.weighted
        self.positive_is_anchor = loss.positive_is_anchor

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar in the unit of the loss inside."""
        self.check(anchors.shape[-1])
        losses = [
            weight * self.loss(unit(anchors[:, :dimension]), unit(candidates[:, :dimension]), batch)
            for dimension, weight in zip(self.dimensions, self.weights, strict=True)
        ]
        return torch.stack(losses).sum()

    def check(self, dimension: int) -> None:
        """Refuse embeddings that are shorter than a prefix.

        :param dimension: of the embeddings.
        :raises ConfigurationError: a prefix is longer.
        """
        if max(self.dimensions) > dimension:
            raise ConfigurationError(
                f"Matryoshka dimensions are {list(self.dimensions)}, but the embeddings have {dimension}; "
                "leave out what is larger"
            )

    def describe(self) -> dict[str, Any]:
        """Return name and parameters, with those of the loss inside."""
        return {
            "name": self.name,
            "loss": self.loss.describe(),
            "dimensions": list(self.dimensions),
            "weights": list(self.weights),
        }
