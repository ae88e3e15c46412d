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
from torch.nn.utils.rnn import pad_sequence
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
    mini_batch_size: int | None = None,
) -> Tensor:
    """Embed texts in chunks of like length.

    :param embed: embeds one padded chunk.
    :param token_ids: all texts one after the other, ``(tokens,)``.
    :param lengths: tokens of each text.
    :param pad_id: id to pad with.
    :param token_budget: most padded tokens of a chunk.
    :param mini_batch_size: most texts of a chunk; giving it turns recomputation on, which bounds the memory
        by one chunk's and takes a third more time. None keeps what the backward pass needs.
    :returns: ``(texts, dim)``, in the order given.
    """
    texts = torch.split(token_ids, list(lengths))
    chunks = [
        rows[start : start + (mini_batch_size or len(rows))]
        for packed in token_budget_batches(lengths, token_budget)
        for rows in _of_like_length(packed, lengths)
        for start in range(0, len(rows), mini_batch_size or len(rows))
    ]
    parts = []
    for rows in chunks:
        input_ids = pad_sequence([texts[i] for i in rows], batch_first=True, padding_value=pad_id)
        longest = input_ids.shape[1]
        positions = torch.arange(longest, device=input_ids.device)
        own_lengths = torch.tensor([lengths[i] for i in rows], device=input_ids.device)
        attention_mask = (positions < own_lengths[:, None]).long()  # (texts, tokens)
        if mini_batch_size is not None and torch.is_grad_enabled():
            parts.append(checkpoint(embed, input_ids, attention_mask, use_reentrant=False))
        else:
            parts.append(embed(input_ids, attention_mask))
    order = torch.tensor([i for rows in chunks for i in rows], device=token_ids.device)
    return torch.cat(parts)[order.argsort()]  # (texts, dim)


def _of_like_length(rows: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Cut texts, longest first, so that questions are not padded to the length of the batch's documents."""
    part: list[int] = []
    for row in rows:
        if part and 2 * lengths[row] < lengths[part[0]]:
            yield part
            part = []
        part.append(row)
    yield part
