"""Negatives from all devices: what every device embedded, gathered so that gradients flow back.

Each device then holds the whole batch and computes the same loss. The backward pass of the gathering sums
the gradients of all copies, which is the number of devices times too much, and distributed training averages
over the devices, which takes that factor out again: the step is the one that a single device with the whole
batch would make, whatever the loss.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from cl_haystack.training.losses.batch import Batch

_OF_CANDIDATES = ("candidate_ids", "candidate_scores", "guide_candidates")
_OF_ANCHORS = ("anchor_ids", "weights", "scores", "labels", "guide_anchors")


def gather_batch(anchors: Tensor, candidates: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Batch]:
    """Put the batches of all devices together; alone, return what was given.

    :param anchors: this device's, ``(batch, dim)``.
    :param candidates: this device's, ``(candidates, dim)``, positives first.
    :param batch: this device's facts.
    :returns: the same of all devices, the same everywhere: all positives first, then all hard negatives.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return anchors, candidates, batch
    anchor_parts = _gather_rows(anchors)
    candidate_parts = _gather_rows(candidates)
    sizes = [len(part) for part in anchor_parts]
    facts: dict[str, Any] = {}
    for name in _OF_ANCHORS:
        facts[name] = _joined(getattr(batch, name))
    for name in _OF_CANDIDATES:
        own = getattr(batch, name)
        facts[name] = None if own is None else _positives_first(_gather_rows(own), sizes)
    offsets = [sum(sizes[:device]) for device in range(len(sizes))]
    owners = [part + offset for part, offset in zip(_gather_rows(batch.owners), offsets, strict=True)]
    facts["owners"] = _positives_first(owners, sizes)
    return torch.cat(anchor_parts), _positives_first(candidate_parts, sizes), Batch(**facts)


def _joined(own: Tensor | None) -> Tensor | None:
    return None if own is None else torch.cat(_gather_rows(own))


def _positives_first(parts: Sequence[Tensor], num_positives: Sequence[int]) -> Tensor:
    pairs = list(zip(parts, num_positives, strict=True))
    return torch.cat([part[:count] for part, count in pairs] + [part[count:] for part, count in pairs])


class _GatherWithGradient(torch.autograd.Function):
    """What a device embedded counts in the losses of all devices: the way back sums their gradients."""

    # torch.distributed.nn.functional.all_gather is deprecated; what takes its place is not in torch 2.6.

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> tuple[Tensor, ...]:
        return tuple(_gathered(own))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        of_all = torch.stack(gradients)  # (devices, rows, dim)
        dist.all_reduce(of_all)
        return of_all[dist.get_rank()]


def _gathered(own: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    return parts


def _gather_rows(own: Tensor) -> list[Tensor]:
    """Gather tensors that may differ in their number of rows: padded, gathered, cut again."""
    count = torch.tensor([len(own)], device=own.device)
    counts = [torch.zeros_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    most = int(torch.cat(counts).max())
    padded = torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])])
    if own.requires_grad:
        gather: Any = _GatherWithGradient.apply  # untyped in torch
        parts = gather(padded)
    else:
        parts = _gathered(padded)
    return [part[: int(count)] for part, count in zip(parts, counts, strict=True)]
