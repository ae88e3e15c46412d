"""The rows of a batch: are they what a loss expects, which belong together, how much does each count."""

import torch
from torch import Tensor

from cl_haystack.errors import DataError
from cl_haystack.training.losses.batch import Batch


def check_rows(anchors: Tensor, candidates: Tensor, batch: Batch) -> None:
    """Refuse embeddings that cannot be a batch, or not this one.

    :param anchors: ``(batch, dim)``.
    :param candidates: ``(candidates, dim)``, at least as many as anchors.
    :param batch: what is known of them.
    :raises DataError: shapes do not fit together.
    """
    if not 0 < len(anchors) <= len(candidates) or anchors.shape[1:] != candidates.shape[1:]:
        raise DataError(
            f"anchors are {tuple(anchors.shape)} and candidates {tuple(candidates.shape)}; expected at least "
            "one anchor, and at least one candidate an anchor, of the same dimension"
        )
    if (len(batch.anchor_ids), len(batch.candidate_ids)) != (len(anchors), len(candidates)):
        raise DataError(
            f"the batch describes {len(batch.anchor_ids)} anchors and {len(batch.candidate_ids)} candidates, "
            f"but there are {len(anchors)} and {len(candidates)} embeddings; describe the same rows"
        )


def given(column: Tensor | None, name: str) -> Tensor:
    """Return a column of the batch that a loss cannot do without.

    :param column: the column, or None.
    :param name: its name in the training records.
    :returns: the column.
    :raises DataError: it is None.
    """
    if column is None:
        raise DataError(f"this loss needs {name!r}, which the batch does not have; add it to every pair")
    return column


def own_negatives(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the hard negatives of the batch, ``(negatives,)`` each: whose they are, and where they stand.

    :param batch: the batch.
    :returns: rows of the anchors, rows of the candidates.
    :raises DataError: there is no hard negative.
    """
    owners = batch.owners[batch.num_anchors :]  # (negatives,)
    if not len(owners):
        raise DataError(
            "this loss needs hard negatives, which the batch does not have; mine some for each pair"
        )
    return owners, batch.num_anchors + torch.arange(len(owners), device=owners.device)


def weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Return ``sum(weights * losses) / sum(weights)``, or the mean where there are no weights.

    :param losses: ``(rows,)``.
    :param weights: ``(rows,)``, > 0, or None.
    :returns: scalar.
    """
    if weights is None:
        return losses.mean()
    weights = weights.to(losses.dtype)
    return (weights * losses).sum() / weights.sum()
