"""Compare all rows of a large batch with all: a block of rows at a time, so that memory stays small.

The scores of 8,192 anchors with as many candidates take 268 MB, and a loss keeps several such matrices for
its way back: more than all embeddings of the batch. What a row loses does not depend on the other rows, so a
block's scores are thrown away and computed once more on the way back, which costs nearly nothing beside
embedding the texts.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

MOST_SCORES = 2**22
"""Scores of a block, 16 MB in float32. A batch of up to 2,048 pairs is one: nothing is recomputed."""


def losses_by_block(losses_of: Callable[[slice], Tensor], num_rows: int, num_columns: int) -> Tensor:
    """Take the losses of all rows.

    :param losses_of: takes rows, ``start`` and ``stop`` given, and returns their losses, ``(rows,)``.
    :param num_rows: rows of the batch.
    :param num_columns: what each row is compared with.
    :returns: ``(num_rows,)``.
    """
    size = max(1, MOST_SCORES // num_columns)
    blocks = [slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]
    if len(blocks) == 1:
        return losses_of(blocks[0])
    recomputed = [
        checkpoint(losses_of, rows, use_reentrant=False, preserve_rng_state=False) for rows in blocks
    ]
    return torch.cat(recomputed)
