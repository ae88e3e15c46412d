"""Search requests as plain dictionaries: vectors, words, and both in one request. No input or output here.

Filters always go *into* the vector search (efficient filtering) and into every leg of a hybrid query: a
filter applied after the search would leave fewer than ``top_k`` documents, and a filter common to the whole
hybrid query exists only from OpenSearch 3.0 on.
"""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
from haystack.errors import FilterError
from haystack_integrations.document_stores.opensearch.filters import COMPARISON_OPERATORS, normalize_filters
from numpy.typing import NDArray

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.mapping import CONTENT_FIELD, EMBEDDING_FIELD
from cl_haystack.opensearch.settings import DEFAULT_EF_SEARCH

Vector = Sequence[float] | NDArray[np.float32]
Fusion = Literal["min_max", "rrf"]

MAX_TOP_K = 10_000  # OpenSearch's index.max_result_window, and its limit for k
# Candidates of each leg before fusion: normalization looks at scores, so it needs more than the first few.
HYBRID_DEPTH = 100
# A search may have 1,024 clauses (indices.query.bool.max_clause_count), one for each word of a text.
MAX_BM25_WORDS = 1_000
# Each of them is a word to the standard analyzer.
_IDEOGRAPHS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")
_RANK_CONSTANT = 60  # of reciprocal rank fusion; Cormack et al. 2009, and OpenSearch's default


def knn_body(
    query_embedding: Vector,
    *,
    top_k: int,
    filters: dict[str, Any] | None = None,
    min_score: float | None = None,
    ef_search: int | None = DEFAULT_EF_SEARCH,
    with_embedding: bool = False,
    nested_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request for the nearest documents of a vector.

    :param query_embedding: the query's vector.
    :param top_k: how many documents.
    :param filters: Haystack filters.
    :param min_score: least score of a result; of the ``top_k`` nearest, those below it are left out.
    :param ef_search: candidates that HNSW looks at, at least ``top_k``; None leaves it to the server (and is
        needed for methods other than HNSW).
    :param with_embedding: return the documents' vectors too.
    :param nested_fields: fields mapped as nested.
    :returns: body of a search request.
    """
    check_top_k(top_k)
    body = _page(top_k, with_embedding=with_embedding)
    body["query"] = _knn_clause(query_embedding, top_k, _filter_clause(filters, nested_fields), ef_search)
    if min_score is not None:
        body["min_score"] = min_score
    return body


def bm25_body(
    query: str,
    *,
    top_k: int,
    filters: dict[str, Any] | None = None,
    with_embedding: bool = False,
    nested_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request for the documents whose content matches the words of a query best (BM25).

    :param query: the query's text; of a long one, the first 1,000 words count.
    :param top_k: how many documents.
    :param filters: Haystack filters.
    :param with_embedding: return the documents' vectors too.
    :param nested_fields: fields mapped as nested.
    :returns: body of a search request.
    """
    check_top_k(top_k)
    body = _page(top_k, with_embedding=with_embedding)
    body["query"] = _bm25_clause(query, _filter_clause(filters, nested_fields))
    return body


def hybrid_body(
    query: str,
    query_embedding: Vector,
    *,
    top_k: int,
    filters: dict[str, Any] | None = None,
    weights: tuple[float, float] = (0.5, 0.5),
    fusion: Fusion = "min_max",
    ef_search: int | None = DEFAULT_EF_SEARCH,
    with_embedding: bool = False,
    nested_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return one request that searches words and vectors and fuses them on the server.

    :param query: the query's text, for BM25; of a long one, the first 1,000 words count.
    :param query_embedding: the query's vector.
    :param top_k: how many documents after fusion.
    :param filters: Haystack filters, pushed into both legs.
    :param weights: of (BM25, vector), each 0..1, with sum 1.
    :param fusion: ``min_max`` scales each leg's scores to 0..1 and takes the weighted mean; ``rrf`` is
        reciprocal rank fusion.
    :param ef_search: candidates that HNSW looks at; None leaves it to the server.
    :param with_embedding: return the documents' vectors too.
    :param nested_fields: fields mapped as nested.
    :returns: body of a search request, with its search pipeline inside.
    """
    check_top_k(top_k)
    check_weights(weights)
    check_fusion(fusion)
    depth = max(top_k, HYBRID_DEPTH)
    clause = _filter_clause(filters, nested_fields)
    legs = [_bm25_clause(query, clause), _knn_clause(query_embedding, depth, clause, ef_search)]
    body = _page(top_k, with_embedding=with_embedding)
    body["query"] = {"hybrid": {"queries": legs, "pagination_depth": depth}}
    body["search_pipeline"] = {"phase_results_processors": [_fusion_processor(fusion, weights)]}
    return body


def first_words(text: str, limit: int = MAX_BM25_WORDS) -> str:
    """Return a text up to its ``limit``-th word; the server refuses BM25 queries that are much longer."""
    if len(text) <= limit:  # a word has at least one character
        return text
    end = next(islice((match.end() for match in _WORD.finditer(text)), limit - 1, None), None)
    return text if end is None else text[:end]


def check_top_k(top_k: int) -> None:
    """Refuse a ``top_k`` that no search can answer."""
    if isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k <= MAX_TOP_K:
        raise ConfigurationError(f"top_k is {top_k!r}, expected a whole number from 1 to {MAX_TOP_K:,}")


def check_weights(weights: Sequence[float]) -> None:
    """Refuse weights that are not two shares of one."""
    if len(weights) != 2 or not all(0 <= weight <= 1 for weight in weights) or abs(sum(weights) - 1) > 1e-6:
        raise ConfigurationError(
            f"weights are {list(weights)}, expected two numbers from 0 to 1 with sum 1: (BM25, vector)"
        )


def check_fusion(fusion: str) -> None:
    """Refuse an unknown way to fuse two result lists."""
    if fusion not in get_args(Fusion):
        raise ConfigurationError(f"fusion is {fusion!r}, expected one of {', '.join(get_args(Fusion))}")


def _page(top_k: int, *, with_embedding: bool) -> dict[str, Any]:
    return {"size": top_k, "_source": True if with_embedding else {"excludes": [EMBEDDING_FIELD]}}


def _knn_clause(
    vector: Vector, k: int, filter_clause: dict[str, Any] | None, ef_search: int | None
) -> dict[str, Any]:
    clause: dict[str, Any] = {"vector": vector, "k": k}
    if ef_search is not None:
        clause["method_parameters"] = {"ef_search": max(k, ef_search)}
    if filter_clause is not None:
        clause["filter"] = filter_clause
    return {"knn": {EMBEDDING_FIELD: clause}}


def _bm25_clause(query: str, filter_clause: dict[str, Any] | None) -> dict[str, Any]:
    # A lone surrogate is valid in a Python string and in no JSON document.
    text = first_words(query.encode("utf-8", "replace").decode())
    match = {"match": {CONTENT_FIELD: {"query": text}}}
    if filter_clause is None:
        return match
    return {"bool": {"must": [match], "filter": [filter_clause]}}


def _filter_clause(filters: dict[str, Any] | None, nested: frozenset[str]) -> dict[str, Any] | None:
    if not filters:
        return None
    try:
        return normalize_filters(filters, nested_fields=set(nested) or None)
    except KeyError as error:  # how opensearch-haystack 9.0 answers an operator that it does not know
        raise FilterError(
            f"unknown filter operator {error}; the operators are {', '.join(sorted(COMPARISON_OPERATORS))}"
        ) from error


def _fusion_processor(fusion: Fusion, weights: tuple[float, float]) -> dict[str, Any]:
    parameters = {"parameters": {"weights": list(weights)}}
    if fusion == "min_max":
        return {
            "normalization-processor": {
                "normalization": {"technique": "min_max"},
                "combination": {"technique": "arithmetic_mean", **parameters},
            }
        }
    # Weights are left out where they are equal: RRF takes them only from OpenSearch 3.2 on.
    weighting = {} if weights[0] == weights[1] else parameters
    return {
        "score-ranker-processor": {
            "combination": {"technique": "rrf", "rank_constant": _RANK_CONSTANT, **weighting}
        }
    }
