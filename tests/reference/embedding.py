"""Embedding as one would write it down: all texts padded to the longest, one forward pass."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_haystack.training import SentenceEncoder


def embed_in_one_piece(encoder: SentenceEncoder, token_ids: Sequence[Sequence[int]]) -> Tensor:
    longest = max(len(ids) for ids in token_ids)
    input_ids = torch.zeros(len(token_ids), longest, dtype=torch.long)
    mask = torch.zeros(len(token_ids), longest, dtype=torch.long)
    for row, ids in enumerate(token_ids):
        for column, token in enumerate(ids):
            input_ids[row, column] = token
            mask[row, column] = 1
    return encoder(input_ids, mask)["sentence_embedding"]
