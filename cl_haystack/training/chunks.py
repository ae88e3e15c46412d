"""GradCache: embed a batch of any size in memory for a few texts, with exact gradients.

1. Sort the texts by length and cut them into chunks, so that little is padding.
2. Embed chunk by chunk. With ``recompute`` only the embeddings are kept, not what led to them.
3. The loss sees the embeddings of the whole batch; its gradient reaches each chunk's embeddings, and the
   chunk is embedded a second time, now with the way back, with the random numbers of the first time
   (dropout).

The last step is ``torch.utils.checkpoint`` around the whole encoder: it replays the random state and runs
inside one backward pass, so any loss works, mixed precision works, and devices synchronise once.
Source: Gao et al. 2021, arXiv:2101.06983.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cl_haystack.encoder.batching import token_budget_batches

EmbedPadded = Callable[[Tensor, Tensor], Tensor]
"""``embed(input_ids, attention_mask)``: both ``(texts, tokens)``; returns ``(texts, dim)``."""


def embed_in_chunks(
    embed: EmbedPadded,
    token_ids: Tensor,
    lengths: Sequence[int],
    *,
    pad_id: int,
    token_budget: int,
    least_saving: int,
    mini_batch_size: int | None = None,
) -> Tensor:
    """Embed texts in chunks of like length.

    :param embed: embeds one padded chunk.
    :param token_ids: all texts one after the other, ``(tokens,)``.
    :param lengths: tokens of each text.
    :param pad_id: id to pad with.
    :param token_budget: most padded tokens of a chunk.
    :param least_saving: tokens of padding that one more chunk has to save.
    :param mini_batch_size: most texts of a chunk; giving it turns recomputation on, which bounds the memory
        by one chunk's and takes a third more time. None keeps what the backward pass needs.
    :returns: ``(texts, dim)``, in the order given.
    """
    chunks = [
        rows[start : start + (mini_batch_size or len(rows))]
        for packed in token_budget_batches(lengths, token_budget)
        for rows in _of_like_length(packed, lengths, least_saving)
        for start in range(0, len(rows), mini_batch_size or len(rows))
    ]
    device = token_ids.device
    counts = torch.tensor(lengths, device=device)  # (texts,)
    starts = counts.cumsum(0) - counts  # (texts,)
    parts = []
    for rows in chunks:
        texts = torch.tensor(rows, device=device)
        positions = torch.arange(lengths[rows[0]], device=device)  # the first is the longest
        attention_mask = positions < counts[texts, None]  # (texts, tokens)
        # One gather a chunk: a copy for each text would be as many kernels to start.
        at = (starts[texts, None] + positions).clamp(max=len(token_ids) - 1)
        input_ids = token_ids[at].masked_fill(~attention_mask, pad_id)
        attention_mask = attention_mask.long()
        if mini_batch_size is not None and torch.is_grad_enabled():
            parts.append(checkpoint(embed, input_ids, attention_mask, use_reentrant=False))
        else:
            parts.append(embed(input_ids, attention_mask))
    order = torch.tensor([i for rows in chunks for i in rows], device=device)
    return torch.cat(parts)[order.argsort()]  # (texts, dim)


def _of_like_length(rows: Sequence[int], lengths: Sequence[int], least_saving: int) -> Iterator[list[int]]:
    """Cut texts, longest first, so that questions are not padded to the length of the batch's documents."""
    start = 0
    for i, row in enumerate(rows):
        longest = lengths[rows[start]]
        saving = (longest - lengths[row]) * (len(rows) - i)
        if 2 * lengths[row] < longest and saving >= least_saving:
            yield list(rows[start:i])
            start = i
    yield list(rows[start:])
