"""Where a cosine stands among others: cosines have no scale of their own, and each text has another one."""

import numpy as np

from cl_haystack.data.curation.doubts import Mask
from cl_haystack.data.curation.near_texts import Ids
from cl_haystack.encoder.protocol import Vectors

SAMPLE = 1024
"""Texts that stand for all others."""
_NEAREST = 10


def some_of(ids: Ids, count: int, random: np.random.Generator) -> Ids:
    """Draw some numbers, each once.

    :param ids: numbers, in any order.
    :param count: how many at most.
    :param random: draws.
    :returns: the numbers drawn, ascending.
    """
    distinct = np.unique(ids)
    return np.sort(random.permutation(distinct)[:count])


def standing(cosines: Vectors, others: Vectors, own: Mask) -> Vectors:
    """Tell how far cosines are above others: a right answer is nearer than the nearest of the wrong ones.

    :param cosines: of two texts, ``(rows,)``.
    :param others: of one of the two with a sample, ``(rows, sample)``.
    :param own: where the sample has the other one itself, ``(rows, sample)``.
    :returns: above their mean in standard deviations, above the highest, above the mean of the ten highest,
        ``(rows, 3)``. The latter is half of CSLS (Conneau et al. 2018, arXiv:1710.04087, section 2.3).
    """
    count = min(_NEAREST, others.shape[1])
    nearest = -np.partition(-np.where(own, -1, others), count - 1, axis=1)[:, :count]  # (rows, count)
    spread = np.maximum(others.std(axis=1), 1e-6)
    result: Vectors = np.column_stack(
        [
            (cosines - others.mean(axis=1)) / spread,
            cosines - nearest.max(axis=1),
            cosines - nearest.mean(axis=1),
        ]
    )
    return result
