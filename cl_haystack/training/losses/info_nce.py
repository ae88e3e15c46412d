"""InfoNCE: find an anchor's own positive among all candidates of the batch.

Each direction asks one question. query_to_doc: which candidate answers this anchor? doc_to_query: which
anchor does this positive answer? query_to_query and doc_to_doc add rows of the same kind as further wrong
answers, so they make sense only in a joint softmax, which holds the right one. What is known to be relevant
is taken out of the wrong answers; a row's own positive always stays.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.blocks import losses_by_block
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero, at_least_zero, one_of
from cl_haystack.training.losses.relevance import (
    own_positives,
    related_anchors,
    related_candidates,
    relevant_candidates,
)
from cl_haystack.training.losses.rows import check_rows, weighted_mean
from cl_haystack.training.losses.similarity import SIMILARITIES, Similarity, prepared, widen

Direction = Literal["query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"]
Partition = Literal["per_direction", "joint"]
Hardness = Literal["in_batch_negatives", "hard_negatives", "all_negatives"]

DIRECTIONS = ("query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc")
BOTH_DIRECTIONS: tuple[Direction, ...] = ("query_to_doc", "doc_to_query")
MAX_LEARNED_SCALE = 100.0
"""CLIP's bound: above it training became unstable (arXiv:2103.00020, section 2.5)."""


def info_nce(
    anchors: Tensor,
    candidates: Tensor,
    batch: Batch | None = None,
    *,
    scale: float | Tensor = 20.0,
    directions: Sequence[Direction] = BOTH_DIRECTIONS,
    partition: Partition = "per_direction",
    hardness: Hardness | None = None,
    hardness_strength: float = 0.0,
    mask_duplicates: bool = True,
) -> Tensor:
    """Cross-entropy of each anchor's positive against every candidate of the batch.

    Row ``i`` of ``candidates`` is the positive of anchor ``i``; all other rows are its negatives: the other
    positives (in-batch negatives), then the hard negatives of the whole batch. A batch of 64 pairs without
    hard negatives gives each anchor 63 negatives. With ``Z_d(i)`` the sum of ``exp(scale * similarity)`` over
    what row ``i`` is compared with in direction ``d``, the loss is the weighted mean over rows of
    ``mean_d log Z_d(i) - scale * s(i, i)``, or of ``log sum_d Z_d(i) - scale * s(i, i)`` if joint.

    :param anchors: ``(batch, dim)``; unit vectors for cosine, any for dot products.
    :param candidates: the same, ``(batch + num_hard_negatives, dim)``, positives first.
    :param batch: owners, equal texts, weights; None means distinct texts of equal weight, and hard negatives
        dealt to the rows in turn (the first of each row, the second of each row, …).
    :param scale: inverse temperature, > 0; 20 is a temperature of 0.05.
    :param directions: what is compared with what; the two that hold the positive, unless joint.
    :param partition: one softmax per direction, averaged, or a joint one.
    :param hardness: the negatives whose logits in query_to_doc grow by ``hardness_strength * similarity``,
        without gradient: those of other rows, the row's own hard negatives, or all.
    :param hardness_strength: at least 0; the papers use 9 for in-batch and 5 for hard negatives.
    :param mask_duplicates: leave out of the negatives what equal texts show to be relevant.
    :returns: scalar, in nats; ``log(len(candidates))`` in query_to_doc when every similarity is equal.
    :raises DataError: ``candidates`` has fewer rows than ``anchors``, or another ``dim``, or there is
        nothing to tell the positive from.
    :raises ConfigurationError: directions that hold no positive, in a softmax of their own.

    Source: van den Oord et al. 2018, arXiv:1807.03748, eq. 4; joint over four directions: Li et al. 2023,
    arXiv:2308.03281; hardness: Lan et al. 2025, arXiv:2503.04812, eq. 5. Equals sentence-transformers'
    ``MultipleNegativesRankingLoss`` where no text occurs twice.
    """
    _check_directions(directions, partition)
    batch = batch or _dealt_in_turn(anchors, candidates)
    check_rows(anchors, candidates, batch)
    check_negatives(candidates)
    anchors, candidates = widen(anchors), widen(candidates)
    own = own_positives(batch)  # (batch, candidates)
    relevant = relevant_candidates(batch) if mask_duplicates else own  # (batch, candidates)

    compared = {each: _compared(each, anchors, candidates, batch, own, relevant) for each in directions}
    hard = None if hardness is None else _hard(hardness, batch, own)  # (batch, candidates)

    def losses_of(rows: slice) -> Tensor:
        logits = {}
        for direction, (left, right, excluded) in compared.items():
            similarities = left[rows] @ right.T  # (rows, candidates | batch)
            direction_logits = scale * similarities
            if direction == "query_to_doc" and hard is not None:
                direction_logits = direction_logits + hardness_strength * similarities.detach() * hard[rows]
            logits[direction] = direction_logits.masked_fill(excluded[rows], -math.inf)
        positive_logits = logits["query_to_doc"].diagonal(offset=rows.start)  # (rows,)
        return _log_partition([*logits.values()], partition) - positive_logits

    losses = losses_by_block(losses_of, len(anchors), len(candidates))  # (batch,)
    return weighted_mean(losses, batch.weights)


class InfoNCE(Loss):
    """InfoNCE with in-batch and hard negatives.

    :param scale: inverse temperature, > 0; the default of 20 is sentence-transformers'.
    :param similarity: cosine, or dot product (then ``scale`` is usually 1).
    :param directions: as for :func:`info_nce`. Both by default, because finding also each positive's anchor
        gained more than any other single change on small sets of pairs.
    :param partition: as for :func:`info_nce`.
    :param hardness: as for :func:`info_nce`.
    :param hardness_strength: as for :func:`info_nce`.
    :param learn_scale: train the logarithm of ``scale`` with the weights, from the given start; it is kept
        at most 100, as in CLIP, or at most the start if that is higher.
    :param mask_duplicates: as for :func:`info_nce`.
    :raises ConfigurationError: an option, or two of them together, that cannot work.
    """

    name = "infonce"
    uses = frozenset({"negatives"})
    in_batch_negatives = True

    def __init__(
        self,
        *,
        scale: float = 20.0,
        similarity: Similarity = "cosine",
        directions: Sequence[Direction] = BOTH_DIRECTIONS,
        partition: Partition = "per_direction",
        hardness: Hardness | None = None,
        hardness_strength: float = 0.0,
        learn_scale: bool = False,
        mask_duplicates: bool = True,
    ) -> None:
        super().__init__()
        self.scale = above_zero("scale", scale, 20)
        one_of("similarity", similarity, SIMILARITIES)
        one_of("partition", partition, ("per_direction", "joint"))
        _check_directions(directions, partition)
        one_of("learn_scale", learn_scale, (True, False))
        one_of("mask_duplicates", mask_duplicates, (True, False))
        one_of("hardness", hardness, (None, "in_batch_negatives", "hard_negatives", "all_negatives"))
        if (hardness is None) != (at_least_zero("hardness_strength", hardness_strength) == 0):
            raise ConfigurationError(
                f"hardness is {hardness!r} and hardness_strength {hardness_strength}: one has no effect "
                "without the other; give both, such as 'hard_negatives' and 5, or none"
            )
        self.similarity: Similarity = similarity
        self.directions = tuple(directions)
        self.partition: Partition = partition
        self.hardness: Hardness | None = hardness
        self.hardness_strength = float(hardness_strength)
        self.mask_duplicates = mask_duplicates
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale))) if learn_scale else None

    def current_scale(self) -> float | Tensor:
        """Return the scale in use: the option, or what has been learned so far."""
        if self.log_scale is None:
            return self.scale
        with torch.no_grad():  # in place, as CLIP does: a clamp in the graph would stop the gradient for good
            self.log_scale.clamp_(max=math.log(max(MAX_LEARNED_SCALE, self.scale)))
        return self.log_scale.exp()

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar in nats."""
        return info_nce(
            prepared(anchors, self.similarity),
            prepared(candidates, self.similarity),
            batch,
            scale=self.current_scale(),
            directions=self.directions,
            partition=self.partition,
            hardness=self.hardness,
            hardness_strength=self.hardness_strength,
            mask_duplicates=self.mask_duplicates,
        )

    def describe(self) -> dict[str, Any]:
        """Return name and parameters; a learned scale stands beside the one it started from."""
        scale = self.current_scale()
        learned = {"learned_scale": scale.item()} if isinstance(scale, Tensor) else {}
        return {
            "name": self.name,
            "scale": self.scale,
            "temperature": 1 / self.scale,
            "similarity": self.similarity,
            "directions": list(self.directions),
            "partition": self.partition,
            "hardness": self.hardness,
            "hardness_strength": self.hardness_strength,
            "learn_scale": self.log_scale is not None,
            **learned,
            "mask_duplicates": self.mask_duplicates,
        }


def check_negatives(candidates: Tensor) -> None:
    """Refuse a batch in which nothing could be a negative.

    :param candidates: ``(candidates, dim)``.
    :raises DataError: there is one candidate only.
    """
    if len(candidates) < 2:
        raise DataError(
            "a batch of one pair without hard negatives has nothing to tell the positive from; use a "
            "batch size of at least 2"
        )


def _compared(
    direction: Direction, anchors: Tensor, candidates: Tensor, batch: Batch, own: Tensor, relevant: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two sides, ``(batch | others, dim)``, and what counts for nothing, ``(batch, others)``."""
    positives = candidates[: len(anchors)]  # (batch, dim)
    if direction == "query_to_doc":
        return anchors, candidates, relevant & ~own
    if direction == "doc_to_query":
        return positives, anchors, (relevant & ~own)[:, : len(anchors)].T
    if direction == "query_to_query":
        return anchors, anchors, related_anchors(relevant)
    same_row = torch.arange(len(anchors), device=anchors.device)[:, None] == batch.owners
    return positives, candidates, related_candidates(relevant) | same_row


def _log_partition(logits: Sequence[Tensor], partition: Partition) -> Tensor:
    """Return the logarithm of what each row's positive is divided by, ``(rows,)``."""
    if partition == "joint":
        return torch.cat([*logits], dim=1).logsumexp(dim=1)
    return torch.stack([each.logsumexp(dim=1) for each in logits]).mean(dim=0)


def _hard(hardness: Hardness, batch: Batch, own: Tensor) -> Tensor:
    """Return which negatives of query_to_doc weigh more, ``(batch, candidates)`` of bool."""
    same_row = torch.arange(len(own), device=own.device)[:, None] == batch.owners
    if hardness == "in_batch_negatives":
        return ~same_row
    return same_row & ~own if hardness == "hard_negatives" else ~own


def _dealt_in_turn(anchors: Tensor, candidates: Tensor) -> Batch:
    owners = torch.arange(len(candidates), device=candidates.device) % max(1, len(anchors))
    return Batch.of_distinct_texts(len(anchors), owners)


def _check_directions(directions: Sequence[Direction], partition: Partition) -> None:
    if isinstance(directions, str) or not isinstance(directions, Sequence):
        raise ConfigurationError(f"directions is {directions!r}, expected a list, of {', '.join(DIRECTIONS)}")
    for direction in directions:
        one_of("directions", direction, DIRECTIONS)
    if "query_to_doc" not in directions or len(set(directions)) < len(directions):
        raise ConfigurationError(
            f"directions are {tuple(directions)}; expected each at most once and 'query_to_doc' among them, "
            "which holds the positive pair"
        )
    if partition == "per_direction" and not set(directions) <= set(BOTH_DIRECTIONS):
        # Without the positive in its softmax a direction's loss falls below 0 by pushing all rows apart.
        raise ConfigurationError(
            f"directions are {tuple(directions)} with partition='per_direction', but 'query_to_query' and "
            "'doc_to_doc' hold no positive; use partition='joint'"
        )
