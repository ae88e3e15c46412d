"""Maximal marginal relevance: documents that match and do not say the same again.

One after the other, the candidate is chosen with the best of

    (1 - diversity) * relevance - diversity * (greatest similarity to a document chosen before)

Carbonell and Goldstein 1998, with ``diversity = 1 - lambda``, which is OpenSearch's word for it. Computed
here from the vectors of the candidates, because servers before 3.3 do not have it and later ones only with a
cluster setting.
"""

from dataclasses import replace

import numpy as np
from haystack import Document
from numpy.typing import NDArray

from cl_haystack.errors import ConfigurationError

_CANDIDATES_PER_RESULT = 3  # OpenSearch's default
MAX_CANDIDATES = 10_000  # OpenSearch's index.max_result_window


def num_candidates(top_k: int, diversity: float | None, candidates: int | None) -> int:
    """Return how many documents a search must fetch.

    :param top_k: how many it is going to return.
    :param diversity: 0..1, or None for a search as it is.
    :param candidates: how many to choose from; None takes three times ``top_k``.
    :returns: ``top_k`` where no diversity is asked for.
    :raises ConfigurationError: a value cannot be used.
    """
    if diversity is None:
        if candidates is not None:
            raise ConfigurationError("candidates are what diversity chooses from; give diversity too")
        return top_k
    if not isinstance(diversity, int | float) or not 0 <= diversity <= 1:
        raise ConfigurationError(f"diversity is {diversity!r}, expected a number from 0 to 1")
    if candidates is None:
        return min(_CANDIDATES_PER_RESULT * top_k, MAX_CANDIDATES)
    if not top_k <= candidates <= MAX_CANDIDATES:
        raise ConfigurationError(
            f"candidates is {candidates}, expected at least top_k ({top_k}) and at most {MAX_CANDIDATES:,}"
        )
    return candidates


def diversify(
    documents: list[Document],
    relevance: NDArray[np.float32],
    vectors: NDArray[np.float32],
    *,
    diversity: float,
    top_k: int,
) -> list[Document]:
    """Choose documents by maximal marginal relevance.

    :param documents: the candidates.
    :param relevance: of each for the query, ``(candidates,)``, on the scale of the vectors' similarities.
    :param vectors: of each, ``(candidates, dim)``; unit vectors, where cosine is the similarity.
    :param diversity: 0 takes the most relevant, 1 those that are least like each other.
    :param top_k: how many to choose.
    :returns: in the order in which they were chosen, with their scores as they were.
    """
    nearest_chosen = np.zeros(len(documents), dtype=np.float32)  # (candidates,)
    free = np.ones(len(documents), dtype=bool)
    chosen: list[Document] = []
    for _ in range(min(top_k, len(documents))):
        gain = (1 - diversity) * relevance - diversity * nearest_chosen if chosen else relevance
        best = int(np.argmax(np.where(free, gain, -np.inf)))
        similarity = vectors @ vectors[best]  # (candidates,)
        nearest_chosen = np.maximum(nearest_chosen, similarity) if chosen else similarity
        free[best] = False
        chosen.append(documents[best])
    return chosen


def scaled(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores on a scale from 0, the least of them, to 1; all 1 where they are equal.

    :param scores: ``(candidates,)``.
    :returns: ``(candidates,)``.
    """
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    return (scores - low) / (high - low) if low < high else np.ones_like(scores)


def without_embedding(documents: list[Document]) -> list[Document]:
    """Return the documents without the vectors that were fetched for choosing alone."""
    return [replace(document, embedding=None) for document in documents]
