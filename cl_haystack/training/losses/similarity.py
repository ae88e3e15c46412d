"""How near two embeddings are: cosine, dot product, distances; one pair a row, or all with all.

Half types are widened to float32 first: fp16 overflows at 65,504 and bf16 has three digits.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Similarity = Literal["cosine", "dot"]
Distance = Literal["cosine", "euclidean"]
SIMILARITIES: tuple[str, ...] = ("cosine", "dot")
DISTANCES: tuple[str, ...] = ("cosine", "euclidean")


def widen(embeddings: Tensor) -> Tensor:
    """Return embeddings in at least float32; float64 stays."""
    return embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings


def unit(embeddings: Tensor) -> Tensor:
    """Return ``(rows, dim)`` scaled to unit length, in at least float32; a zero vector stays zero."""
    return F.normalize(widen(embeddings), dim=-1)


def prepared(embeddings: Tensor, similarity: Similarity) -> Tensor:
    """Return vectors whose dot products are the similarities."""
    return unit(embeddings) if similarity == "cosine" else widen(embeddings)


def pair_similarity(left: Tensor, right: Tensor, similarity: Similarity = "cosine") -> Tensor:
    """Compare row by row.

    :param left: ``(rows, dim)``.
    :param right: ``(rows, dim)``.
    :param similarity: cosine, -1 to 1, or dot product.
    :returns: ``(rows,)``.
    """
    return (prepared(left, similarity) * prepared(right, similarity)).sum(dim=-1)  # (rows,)


def pair_distance(left: Tensor, right: Tensor, distance: Distance) -> Tensor:
    """Compare row by row.

    :param left: ``(rows, dim)``.
    :param right: ``(rows, dim)``.
    :param distance: ``1 - cosine``, 0 to 2, or Euclidean, whose gradient is 0 where two rows coincide.
    :returns: ``(rows,)``.
    """
    if distance == "cosine":
        return 1 - pair_similarity(left, right)
    norms: Tensor = torch.linalg.vector_norm(widen(left) - widen(right), dim=-1)  # (rows,)
    return norms


def all_distances(embeddings: Tensor, distance: Distance) -> Tensor:
    """Compare all rows with all.

    :param embeddings: ``(rows, dim)``.
    :param distance: as for :func:`pair_distance`.
    :returns: ``(rows, rows)``.
    """
    if distance == "cosine":
        vectors = unit(embeddings)
        return 1 - vectors @ vectors.T  # (rows, rows)
    vectors = widen(embeddings)
    # Through matrix products a float32 distance of 0.001 is wrong by up to 17 % (unit vectors, dim 384).
    return torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")  # (rows, rows)
