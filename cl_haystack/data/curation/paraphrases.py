"""Texts that say the same in other words, as far as a model can tell; MinHash sees shared words alone.

Texts are compared within cells, those around a random text each, so that a million are not compared with a
million. Few texts make one cell, where all are compared with all.

Source of the cells: the inverted file of Jégou et al. 2011, "Product quantization for nearest neighbor
search" (IEEE TPAMI 33).
"""

from collections.abc import Iterator

import numpy as np

from cl_haystack.data.curation.near_texts import Alike, Ids, TextTable
from cl_haystack.data.curation.same_statement import facts
from cl_haystack.data.curation.vectors import TextVectors
from cl_haystack.encoder.protocol import Vectors

_CELL_TEXTS = 2000  # about
_CELLS_EACH = 2  # a text near the border of its cell is in the next one, too
_AT_ONCE = 1024


def same_meaning(alike: Alike, vectors: TextVectors, texts: TextTable, similarity: float) -> None:
    """Find texts that mean the same: alike by a model, with the same numbers, and both negated or neither.

    :param alike: where they are noted.
    :param vectors: the texts' vectors.
    :param texts: their words.
    :param similarity: cosine from which on two texts mean the same.
    """
    pairs = [np.empty((0, 2), dtype=np.int64), *_near(vectors, similarity)]
    found = np.unique(np.concatenate(pairs), axis=0)  # by the later text, then the earlier
    for second, first in found.tolist():
        if alike.wants(first, second) and facts(texts.words(first)) == facts(texts.words(second)):
            alike.add(first, second)


def _near(vectors: TextVectors, similarity: float) -> Iterator[Ids]:
    """Yield pairs of numbers of texts, the later first, ``(pairs, 2)``."""
    count = len(vectors.ids)
    num_cells = max(1, count // _CELL_TEXTS)
    chosen = np.random.default_rng(0).permutation(count)[:num_cells]
    centres = vectors.of(np.sort(vectors.ids[chosen]))  # (cells, dim)
    cells = np.empty((count, min(_CELLS_EACH, num_cells)), dtype=np.int64)
    done = 0
    for ids, window in vectors.windows():
        nearest = np.argpartition(-(window @ centres.T), cells.shape[1] - 1, axis=1)
        cells[done : done + len(ids)] = nearest[:, : cells.shape[1]]
        done += len(ids)
    order = np.argsort(cells.ravel(), kind="stable")
    ends = np.searchsorted(cells.ravel()[order], np.arange(num_cells), side="right")
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        members = vectors.ids[order[start:end] // cells.shape[1]]
        yield from _within(members, vectors.of(members), similarity)


def _within(ids: Ids, vectors: Vectors, similarity: float) -> Iterator[Ids]:
    for start in range(0, len(ids), _AT_ONCE):
        rows, columns = np.nonzero(vectors[start : start + _AT_ONCE] @ vectors.T >= similarity)
        one, other = ids[start + rows], ids[columns]
        yield np.column_stack([one, other])[one > other]
