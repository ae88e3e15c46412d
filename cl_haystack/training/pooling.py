"""Token embeddings to one embedding a text, in the modes of sentence-transformers and under their names.

Padding is on the right, as everywhere in this project.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from cl_haystack.bundle.manifest import Pooling
from cl_haystack.training.losses.similarity import widen

_SMALLEST_COUNT = 1e-9  # sentence-transformers' guard for a text without tokens


def pool(token_embeddings: Tensor, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """Turn token embeddings into one embedding a text, in fp32 at least.

    :param token_embeddings: ``(batch, tokens, hidden)``.
    :param attention_mask: ``(batch, tokens)``, 1 for tokens, 0 for padding on the right.
    :param pooling: a mode, or several joined by ``+``: their embeddings are put one after the other.
    :returns: ``(batch, hidden)``, times the number of modes.
    """
    token_embeddings = widen(token_embeddings)
    pooled = [_MODES[mode](token_embeddings, attention_mask) for mode in pooling.split("+")]
    return pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=-1)  # (batch, modes * hidden)


def _first(token_embeddings: Tensor, _: Tensor) -> Tensor:
    return token_embeddings[:, 0]  # (batch, hidden)


def _last(token_embeddings: Tensor, attention_mask: Tensor) -> Tensor:
    last = attention_mask.sum(dim=1) - 1  # (batch,)
    index = last[:, None, None].expand(-1, 1, token_embeddings.shape[-1])
    return token_embeddings.gather(1, index).squeeze(1)  # (batch, hidden)


def _max(token_embeddings: Tensor, attention_mask: Tensor) -> Tensor:
    padding = attention_mask.unsqueeze(-1) == 0  # (batch, tokens, 1)
    return token_embeddings.masked_fill(padding, float("-inf")).amax(dim=1)  # (batch, hidden)


def _mean(token_embeddings: Tensor, attention_mask: Tensor) -> Tensor:
    weights = attention_mask.to(token_embeddings.dtype)  # (batch, tokens)
    return _sum(token_embeddings, weights) / _count(weights)


def _mean_by_root_of_length(token_embeddings: Tensor, attention_mask: Tensor) -> Tensor:
    weights = attention_mask.to(token_embeddings.dtype)  # (batch, tokens)
    return _sum(token_embeddings, weights) / _count(weights).sqrt()


def _sum(token_embeddings: Tensor, weights: Tensor) -> Tensor:
    """Add up tokens as a matrix product for each text.

    onnxruntime adds up the rows of a reduction in an order that depends on how many texts there are; a
    product's it does not, so that short texts can share a run and keep their bits.
    """
    with torch.autocast(token_embeddings.device.type, enabled=False):  # which would multiply in bf16
        return (weights.unsqueeze(1) @ token_embeddings).squeeze(1)  # (batch, hidden)


def _count(weights: Tensor) -> Tensor:
    return weights.sum(dim=1, keepdim=True).clamp(min=_SMALLEST_COUNT)  # (batch, 1)


def _mean_weighted_by_position(token_embeddings: Tensor, attention_mask: Tensor) -> Tensor:
    return _mean(token_embeddings, attention_mask.cumsum(dim=1) * attention_mask)  # token i weighs i


_MODES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_by_root_of_length,
    "weightedmean": _mean_weighted_by_position,
    "lasttoken": _last,
}
