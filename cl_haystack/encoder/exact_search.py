"""Exact nearest neighbours in memory: every query against every document, in blocks.

Only the ids, one window of document vectors and the best ``top_k`` of each query are held, so the corpus may
be larger than the memory. There is no index and no approximation: this is the figure an index is measured by.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cl_haystack.encoder.protocol import Vectors

_QUERY_BLOCK = 1024  # with a window of 4,096 documents, 16 MB of scores at a time

Scores = NDArray[np.float32]
Positions = NDArray[np.int64]


def exact_search(
    query_ids: Sequence[str],
    query_vectors: Vectors,
    windows: Iterable[tuple[Sequence[str], Vectors]],
    *,
    top_k: int,
) -> dict[str, dict[str, float]]:
    """Find the ``top_k`` documents of each query by dot product; equal scores by id, the larger first.

    :param query_ids: one id a query.
    :param query_vectors: ``(queries, dim)``.
    :param windows: ids and vectors ``(documents, dim)`` of the corpus, part by part.
    :param top_k: documents to return for each query; all, where the corpus has fewer.
    :returns: score by query id and document id, best first.
    """
    document_ids: list[str] = []
    blocks = [slice(start, start + _QUERY_BLOCK) for start in range(0, len(query_ids), _QUERY_BLOCK)]
    best = [_none_yet(len(query_vectors[block])) for block in blocks]
    for window_ids, window_vectors in windows:
        first = len(document_ids)
        document_ids.extend(window_ids)
        positions = np.arange(first, len(document_ids))  # (documents,)
        for number, block in enumerate(blocks):
            scores = query_vectors[block] @ window_vectors.T  # (queries, documents)
            best[number] = _keep_best(best[number], scores, positions, document_ids, top_k)
    rows = (row for scores, positions in best for row in _ranked_rows(scores, positions, document_ids))
    return dict(zip(query_ids, rows, strict=True))


def _none_yet(num_queries: int) -> tuple[Scores, Positions]:
    return np.empty((num_queries, 0), dtype=np.float32), np.empty((num_queries, 0), dtype=np.int64)


def _keep_best(
    best: tuple[Scores, Positions], scores: Scores, positions: Positions, ids: Sequence[str], top_k: int
) -> tuple[Scores, Positions]:
    all_scores = np.concatenate([best[0], scores], axis=1)  # (queries, candidates)
    all_positions = np.concatenate([best[1], np.broadcast_to(positions, scores.shape)], axis=1)
    if all_scores.shape[1] <= top_k:
        return all_scores, all_positions
    threshold = np.partition(all_scores, -top_k, axis=1)[:, -top_k, None]  # (queries, 1)
    keep = all_scores >= threshold  # at least top_k a row; more where scores are equal
    for row in np.flatnonzero(keep.sum(axis=1) > top_k):
        tied = np.flatnonzero(all_scores[row] == threshold[row])
        by_id = sorted(tied, key=lambda column: ids[all_positions[row, column]])
        keep[row, by_id[: keep[row].sum() - top_k]] = False
    shape = (len(all_scores), top_k)
    return all_scores[keep].reshape(shape), all_positions[keep].reshape(shape)


def _ranked_rows(scores: Scores, positions: Positions, ids: Sequence[str]) -> Iterator[dict[str, float]]:
    for row_scores, row_positions in zip(scores.tolist(), positions.tolist(), strict=True):
        pairs = sorted(zip(row_scores, (ids[p] for p in row_positions), strict=True), reverse=True)
        yield {document_id: score for score, document_id in pairs}
