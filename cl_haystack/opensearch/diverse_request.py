"""A search that asks for more documents than it returns, and chooses from them those that differ."""

from typing import Any

import numpy as np
from haystack import Document
from numpy.typing import NDArray

from cl_haystack.opensearch.diversity import diversify, scaled, without_embedding
from cl_haystack.opensearch.fusion import Fusion
from cl_haystack.opensearch.index_vectors import IndexVectors
from cl_haystack.opensearch.search_request import Hits, SearchRequest, read_hits
from cl_haystack.opensearch.vector_form import Row


def diverse_request(
    body: dict[str, Any],
    vectors: IndexVectors,
    query: Row,
    *,
    diversity: float,
    top_k: int,
    with_embedding: bool,
    fusion: Fusion | None = None,
) -> SearchRequest:
    """Return a search whose documents are chosen by maximal marginal relevance.

    :param body: of a search for all candidates, with their vectors.
    :param vectors: those of the index.
    :param query: the query's, as the index is asked with it.
    :param diversity: 0..1, see :func:`~cl_haystack.opensearch.diversity.diversify`.
    :param top_k: how many to choose.
    :param with_embedding: return the documents' vectors too.
    :param fusion: how the scores are made of two searches; None for a search by vectors.
    :returns: the request; its documents come in the order of choice.
    """

    def read(hits: Hits) -> list[Document]:
        documents = read_hits(hits)
        relevance, rows = _compared(documents, vectors, query, fusion)
        chosen = diversify(documents, relevance, rows, diversity=diversity, top_k=top_k)
        return chosen if with_embedding else without_embedding(chosen)

    return SearchRequest(body, read)


def _compared(
    documents: list[Document], vectors: IndexVectors, query: Row, fusion: Fusion | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the relevance, ``(candidates,)``, and the vectors, ``(candidates, dim)``, on one scale."""
    stored = [document.embedding for document in documents]
    if fusion is None:
        # Not the score, which knows no bytes' scale, and of signs the number that differ.
        rows = vectors.rows(stored)
        return rows @ vectors.rows([query])[0], rows
    # Fused scores lie within 0..1, as cosines do; those of ranks are all close to 0.
    rows = vectors.form.rows(stored, vectors.dimension, unit=True)
    scores = np.array([document.score or 0.0 for document in documents], dtype=np.float32)
    return scaled(scores) if fusion == "rrf" else scores, rows
