"""Search requests as plain dictionaries: vectors, words, and both in one request. No input or output here.

Filters go *into* the search for the nearest (efficient filtering) and into every leg of a hybrid query: a
filter applied after the search would leave fewer than ``top_k`` documents, and a filter common to the whole
hybrid query exists only from OpenSearch 3.0 on. They stand beside a radial search, which finds all that are
near enough: OpenSearch 2.19 forgets the ``min_score`` of one whose filter it can simplify, and refuses it.
"""

import math
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from haystack.errors import FilterError
from haystack_integrations.document_stores.opensearch.filters import COMPARISON_OPERATORS, normalize_filters
from numpy.typing import NDArray

from cl_haystack.errors import ConfigurationError, quote
from cl_haystack.opensearch import fusion
from cl_haystack.opensearch.fusion import HybridSettings
from cl_haystack.opensearch.mapping import CONTENT_FIELD, EMBEDDING_FIELD
from cl_haystack.opensearch.settings import DEFAULT_EF_SEARCH, SpaceType

Vector = Sequence[float] | NDArray[np.float32] | NDArray[np.int8]

MAX_TOP_K = 10_000  # OpenSearch's index.max_result_window, and its limit for k
MAX_OVERSAMPLE_FACTOR = 100.0  # OpenSearch's
# A longer text would be refused; this much of it is looked at (index.highlight.max_analyzed_offset).
_MAX_HIGHLIGHTED_CHARS = 999_999
# A search may have 1,024 clauses (indices.query.bool.max_clause_count), one for each word of a text.
MAX_BM25_WORDS = 1_000
# Each of them is a word to the standard analyzer.
_IDEOGRAPHS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")


def knn_body(
    query_embedding: Vector,
    *,
    top_k: int,
    filters: dict[str, Any] | None = None,
    ef_search: int | None = DEFAULT_EF_SEARCH,
    oversample_factor: float | None = None,
    rescore_by: SpaceType | None = None,
    with_embedding: bool = False,
    nested_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request for the nearest documents of a vector.

    :param query_embedding: the query's vector.
    :param top_k: how many documents.
    :param filters: Haystack filters.
    :param ef_search: candidates that HNSW looks at, at least ``top_k``; None leaves it to the server (and is
        needed for methods other than HNSW).
    :param oversample_factor: of a quantized index, take so many times ``top_k`` candidates and rank them anew
        by their full vectors; None leaves it to the server.
    :param rescore_by: the space type of an index whose engine cannot do that, so that a script does: Lucene's
        on OpenSearch 2.19, which takes the factor and does nothing. None leaves it to the engine.
    :param with_embedding: return the documents' vectors too.
    :param nested_fields: fields mapped as nested.
    :returns: body of a search request.
    """
    check_top_k(top_k)
    check_oversample_factor(oversample_factor)
    body = _page(top_k, with_embedding=with_embedding)
    clause = filter_clause(filters, nested_fields)
    if oversample_factor is None or rescore_by is None:
        body["query"] = _knn_clause(query_embedding, top_k, clause, ef_search, oversample_factor)
        return body
    num_candidates = min(math.ceil(oversample_factor * top_k), MAX_TOP_K)
    by_script = {"query": {"match_all": {}}, "script": _exact_score(query_embedding, rescore_by)}
    body["query"] = _knn_clause(query_embedding, num_candidates, clause, ef_search)
    body["rescore"] = {
        "window_size": num_candidates,
        "query": {
            "rescore_query": {"script_score": by_script},
            "query_weight": 0,
            "rescore_query_weight": 1,
        },
    }
    return body


def radial_body(
    query_embedding: Vector,
    *,
    min_score: float,
    top_k: int,
    filters: dict[str, Any] | None = None,
    with_embedding: bool = False,
    nested_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request for the documents that reach a score, however many they are.

    :param query_embedding: the query's vector.
    :param min_score: least score; the vector search itself looks for what reaches it.
    :param top_k: most documents to return, the best of them.
    :param filters: Haystack filters.
    :param with_embedding: return the documents' vectors too.
    :param nested_fields: fields mapped as nested.
    :returns: body of a search request.
    """
    check_top_k(top_k)
    body = _page(top_k, with_embedding=with_embedding)
    near_enough = {"knn": {EMBEDDING_FIELD: {"vector": query_embedding, "min_score": min_score}}}
    body["query"] = _within(near_enough, filter_clause(filters, nested_fields))
    return body


def exact_body(
    query_embedding: Vector,
    *,
    top_k: int,
    space_type: SpaceType,
    filters: dict[str, Any] | None = None,
    min_score: float | None = None,
    with_embedding: bool = False,
    nested_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request that compares the vector with that of every document the filters leave.

    :param query_embedding: the query's vector.
    :param top_k: how many documents.
    :param space_type: of the index, so that scores are those of the other searches.
    :param filters: Haystack filters.
    :param min_score: least score.
    :param with_embedding: return the documents' vectors too.
    :param nested_fields: fields mapped as nested.
    :returns: body of a search request.
    """
    check_top_k(top_k)
    body = _page(top_k, with_embedding=with_embedding)
    clauses: list[dict[str, Any]] = [{"exists": {"field": EMBEDDING_FIELD}}]
    if (wanted := filter_clause(filters, nested_fields)) is not None:
        clauses.append(wanted)
    scored: dict[str, Any] = {
        "query": {"bool": {"filter": clauses}},
        "script": _exact_score(query_embedding, space_type),
    }
    if min_score is not None:
        scored["min_score"] = min_score
    body["query"] = {"script_score": scored}
    return body


def bm25_body(
    query: str,
    *,
    top_k: int,
    filters: dict[str, Any] | None = None,
    highlight: bool = False,
    with_embedding: bool = False,
    nested_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request for the documents whose content matches the words of a query best (BM25).

    :param query: the query's text; of a long one, the first 1,000 words count.
    :param top_k: how many documents.
    :param filters: Haystack filters.
    :param highlight: return the passages with those words too.
    :param with_embedding: return the documents' vectors too.
    :param nested_fields: fields mapped as nested.
    :returns: body of a search request.
    """
    check_top_k(top_k)
    matching = _match(query)
    body = _page(top_k, with_embedding=with_embedding, highlighted=matching if highlight else None)
    body["query"] = _within(matching, filter_clause(filters, nested_fields))
    return body


def hybrid_body(
    query: str,
    query_embedding: Vector,
    *,
    top_k: int,
    filters: dict[str, Any] | None = None,
    settings: HybridSettings = fusion.DEFAULT,
    ef_search: int | None = DEFAULT_EF_SEARCH,
    highlight: bool = False,
    with_embedding: bool = False,
    nested_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return one request that searches words and vectors and fuses them on the server.

    :param query: the query's text, for BM25; of a long one, the first 1,000 words count.
    :param query_embedding: the query's vector.
    :param top_k: how many documents after fusion.
    :param filters: Haystack filters, pushed into both legs.
    :param settings: weights, fusion, and candidates of each leg, of which there are at least ``top_k``.
    :param ef_search: candidates that HNSW looks at; None leaves it to the server.
    :param highlight: return the passages with the query's words too.
    :param with_embedding: return the documents' vectors too.
    :param nested_fields: fields mapped as nested.
    :returns: body of a search request, with its search pipeline inside.
    """
    check_top_k(top_k)
    depth = max(top_k, settings.pagination_depth)
    clause = filter_clause(filters, nested_fields)
    matching = _match(query)
    legs = [_within(matching, clause), _knn_clause(query_embedding, depth, clause, ef_search)]
    body = _page(top_k, with_embedding=with_embedding, highlighted=matching if highlight else None)
    body["query"] = {"hybrid": {"queries": legs, "pagination_depth": depth}}
    body["search_pipeline"] = {"phase_results_processors": [settings.processor()]}
    return body


def ids_body(ids: Sequence[str], *, with_embedding: bool = False) -> dict[str, Any]:
    """Return the request for documents by their ids, on whatever shards they are.

    :param ids: ids of the documents.
    :param with_embedding: return the documents' vectors too.
    :returns: body of a search request, for documents without scores.
    """
    body = _page(MAX_TOP_K, with_embedding=with_embedding)  # an alias may lead to several of one id
    body["query"] = {"ids": {"values": list(ids)}}
    body["sort"] = ["_doc"]
    return body


def filter_clause(filters: dict[str, Any] | None, nested: frozenset[str]) -> dict[str, Any] | None:
    """Return Haystack filters as an OpenSearch query.

    :param filters: Haystack filters, or None.
    :param nested: fields mapped as nested.
    :returns: the query; None without filters.
    :raises FilterError: the filters are malformed.
    """
    if not filters:
        return None
    try:
        return normalize_filters(filters, nested_fields=set(nested) or None)
    except KeyError as error:  # how opensearch-haystack 9.0 answers an operator that it does not know
        raise FilterError(
            f"unknown filter operator {error}; the operators are {', '.join(sorted(COMPARISON_OPERATORS))}"
        ) from error
    except (AttributeError, TypeError) as error:  # and how it answers a part of another type than it expects
        raise FilterError(
            f"the filters {quote(str(filters))} cannot be read ({error}); expected a condition such as "
            "{'field': 'meta.year', 'operator': '>=', 'value': 2020}, or several: {'operator': 'AND', "
            "'conditions': […]}"
        ) from error


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


def check_oversample_factor(oversample_factor: float | None) -> None:
    """Refuse a factor that no server takes."""
    if oversample_factor is not None and not 1 <= oversample_factor <= MAX_OVERSAMPLE_FACTOR:
        raise ConfigurationError(
            f"oversample_factor is {oversample_factor}, expected a number from 1 to {MAX_OVERSAMPLE_FACTOR:g}"
        )


def _page(top_k: int, *, with_embedding: bool, highlighted: dict[str, Any] | None = None) -> dict[str, Any]:
    page: dict[str, Any] = {
        "size": top_k,
        "_source": True if with_embedding else {"excludes": [EMBEDDING_FIELD]},
    }
    if highlighted is not None:
        page["highlight"] = {
            "fields": {CONTENT_FIELD: {}},
            "highlight_query": highlighted,  # else words of the filters are marked, too
            "max_analyzer_offset": _MAX_HIGHLIGHTED_CHARS,
        }
    return page


def _exact_score(vector: Vector, space_type: SpaceType) -> dict[str, Any]:
    parameters = {"field": EMBEDDING_FIELD, "query_value": vector, "space_type": space_type}
    return {"lang": "knn", "source": "knn_score", "params": parameters}


def _knn_clause(
    vector: Vector,
    k: int,
    wanted: dict[str, Any] | None,
    ef_search: int | None,
    oversample_factor: float | None = None,
) -> dict[str, Any]:
    clause: dict[str, Any] = {"vector": vector, "k": k}
    if oversample_factor is not None:
        clause["rescore"] = {"oversample_factor": oversample_factor}
    if ef_search is not None:
        clause["method_parameters"] = {"ef_search": max(k, ef_search)}
    if wanted is not None:
        clause["filter"] = wanted
    return {"knn": {EMBEDDING_FIELD: clause}}


def _match(query: str) -> dict[str, Any]:
    # A lone surrogate is valid in a Python string and in no JSON document.
    text = first_words(query.encode("utf-8", "replace").decode())
    return {"match": {CONTENT_FIELD: {"query": text}}}


def _within(scored: dict[str, Any], wanted: dict[str, Any] | None) -> dict[str, Any]:
    return scored if wanted is None else {"bool": {"must": [scored], "filter": [wanted]}}
