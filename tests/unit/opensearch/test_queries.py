"""Search requests: where the filter goes, how many candidates are asked for, what is refused."""

from typing import Any

import pytest
from haystack.errors import FilterError
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.fusion import HybridSettings
from cl_haystack.opensearch.queries import (
    MAX_BM25_WORDS,
    bm25_body,
    exact_body,
    first_words,
    hybrid_body,
    knn_body,
    radial_body,
)

VECTOR = [0.6, 0.8]
FILTERS = {"field": "meta.year", "operator": ">=", "value": 2000}
CLAUSE = {"bool": {"must": {"range": {"year": {"gte": 2000}}}}}


def test_filter_goes_into_the_vector_search() -> None:
    body = knn_body(VECTOR, top_k=7, filters=FILTERS)
    assert body["size"] == 7
    assert body["_source"] == {"excludes": ["embedding"]}
    assert body["query"] == {
        "knn": {
            "embedding": {
                "vector": VECTOR,
                "k": 7,
                "method_parameters": {"ef_search": 100},
                "filter": CLAUSE,
            }
        }
    }


def test_ef_search_is_never_below_k_and_can_be_left_out() -> None:
    assert knn_body(VECTOR, top_k=300)["query"]["knn"]["embedding"]["method_parameters"] == {"ef_search": 300}
    assert "method_parameters" not in knn_body(VECTOR, top_k=3, ef_search=None)["query"]["knn"]["embedding"]


def test_a_threshold_is_part_of_the_vector_search() -> None:
    body = radial_body(VECTOR, min_score=0.7, top_k=9, filters=FILTERS)
    near_enough = {"knn": {"embedding": {"vector": VECTOR, "min_score": 0.7}}}
    assert body["query"] == {"bool": {"must": [near_enough], "filter": [CLAUSE]}}
    assert radial_body(VECTOR, min_score=0.7, top_k=9)["query"] == near_enough
    assert "min_score" not in body
    assert body["size"] == 9


def test_an_exact_search_looks_at_what_the_filter_leaves() -> None:
    scored = exact_body(VECTOR, top_k=2, space_type="l2", filters=FILTERS)["query"]["script_score"]
    assert scored["query"] == {"bool": {"filter": [{"exists": {"field": "embedding"}}, CLAUSE]}}
    assert scored["script"]["params"] == {
        "field": "embedding",
        "query_value": VECTOR,
        "space_type": "l2",
    }
    assert "min_score" not in scored


def test_vectors_highlights_and_rescoring_only_where_asked_for() -> None:
    assert knn_body(VECTOR, top_k=1, with_embedding=True)["_source"] is True
    assert "rescore" not in knn_body(VECTOR, top_k=1)["query"]["knn"]["embedding"]
    rescored = knn_body(VECTOR, top_k=1, oversample_factor=3.0)["query"]["knn"]["embedding"]
    assert rescored["rescore"] == {"oversample_factor": 3.0}
    assert "highlight" not in bm25_body("words", top_k=1)
    for body in (
        bm25_body("words", top_k=1, highlight=True, filters=FILTERS),
        hybrid_body("words", VECTOR, top_k=1, highlight=True, filters=FILTERS),
    ):
        assert "content" in body["highlight"]["fields"]
        assert body["highlight"]["highlight_query"] == {"match": {"content": {"query": "words"}}}


def test_a_script_ranks_anew_where_the_engine_does_not() -> None:
    body = knn_body(VECTOR, top_k=5, oversample_factor=2.5, rescore_by="l2", filters=FILTERS)
    clause = body["query"]["knn"]["embedding"]
    assert "rescore" not in clause
    assert (clause["k"], clause["filter"], body["size"]) == (13, CLAUSE, 5)
    assert body["rescore"]["window_size"] == 13
    assert "rescore" not in knn_body(VECTOR, top_k=5, rescore_by="l2")


@pytest.mark.parametrize("factor", [0.5, 101, -1])
def test_an_impossible_oversample_factor_is_refused(factor: float) -> None:
    with pytest.raises(ConfigurationError, match="oversample_factor"):
        knn_body(VECTOR, top_k=1, oversample_factor=factor)


def test_bm25_matches_the_content_and_filters_without_scoring() -> None:
    assert bm25_body("two words", top_k=4)["query"] == {"match": {"content": {"query": "two words"}}}
    filtered = bm25_body("two words", top_k=4, filters=FILTERS)["query"]["bool"]
    assert filtered == {"must": [{"match": {"content": {"query": "two words"}}}], "filter": [CLAUSE]}


def test_hybrid_is_one_query_with_the_filter_in_both_legs() -> None:
    body = hybrid_body(
        "words", VECTOR, top_k=10, filters=FILTERS, settings=HybridSettings(weights=(0.3, 0.7))
    )
    words, vectors = body["query"]["hybrid"]["queries"]
    assert words["bool"]["filter"] == [CLAUSE]
    assert vectors["knn"]["embedding"]["filter"] == CLAUSE
    assert "filter" not in body["query"]["hybrid"]  # exists only from OpenSearch 3.0 on
    assert body["size"] == 10
    processor = body["search_pipeline"]["phase_results_processors"][0]["normalization-processor"]
    assert processor["normalization"] == {"technique": "min_max"}
    assert processor["combination"]["parameters"] == {"weights": [0.3, 0.7]}


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_hybrid_collects_the_depth_and_at_least_top_k_from_each_leg(top_k: int, depth: int) -> None:
    settings = HybridSettings(pagination_depth=depth)
    hybrid = hybrid_body("words", VECTOR, top_k=top_k, settings=settings)["query"]["hybrid"]
    assert hybrid["pagination_depth"] == hybrid["queries"][1]["knn"]["embedding"]["k"] == max(top_k, depth)


def test_rrf_sends_weights_only_where_they_differ() -> None:
    def combination(weights: tuple[float, float]) -> Any:
        processor = HybridSettings(fusion="rrf", weights=weights).processor()
        return processor["score-ranker-processor"]["combination"]

    assert combination((0.5, 0.5)) == {"technique": "rrf", "rank_constant": 60}
    assert combination((0.2, 0.8))["parameters"] == {"weights": [0.2, 0.8]}


@pytest.mark.parametrize("top_k", [0, -1, 10_001, 2.5, True])
def test_impossible_top_k_is_refused(top_k: Any) -> None:
    with pytest.raises(ConfigurationError, match="top_k"):
        knn_body(VECTOR, top_k=top_k)


def test_an_unknown_operator_is_named() -> None:
    with pytest.raises(FilterError, match=r"'='.*=="):
        knn_body(VECTOR, top_k=1, filters={"field": "meta.a", "operator": "=", "value": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"operator": "AND", "conditions": 5},
        {"operator": "AND", "conditions": ["meta.a"]},
        {"operator": [], "conditions": [FILTERS]},
        {"field": "meta.a", "operator": ["=="], "value": 1},
        {"field": 5, "operator": "==", "value": 1},
    ],
)
@pytest.mark.parametrize("nested_fields", [frozenset(), frozenset({"parts"})])
def test_filters_of_wrong_types_are_refused_in_our_words(
    wrong: dict[str, Any], nested_fields: frozenset[str]
) -> None:
    with pytest.raises(FilterError):
        knn_body(VECTOR, top_k=1, filters=wrong, nested_fields=nested_fields)


def test_filters_on_nested_fields_are_wrapped() -> None:
    filters = {"field": "meta.parts.color", "operator": "==", "value": "red"}
    plain = bm25_body("x", top_k=1, filters=filters)["query"]["bool"]["filter"]
    nested = bm25_body("x", top_k=1, filters=filters, nested_fields=frozenset({"parts"}))
    assert "nested" not in str(plain)
    assert nested["query"]["bool"]["filter"] == [
        {"bool": {"must": {"nested": {"path": "parts", "query": {"term": {"parts.color": "red"}}}}}}
    ]


def test_long_queries_are_cut_at_a_word() -> None:
    text = " ".join(f"word{number}" for number in range(1500))
    cut = first_words(text)
    assert cut == " ".join(f"word{number}" for number in range(MAX_BM25_WORDS))
    assert first_words("漢字" * 900) == "漢字" * (MAX_BM25_WORDS // 2)  # every ideograph is a word


@given(st.text(max_size=300), st.integers(1, 20))
def test_cutting_only_shortens(text: str, limit: int) -> None:
    cut = first_words(text, limit)
    assert text.startswith(cut)
    assert first_words(cut, limit) == cut


def test_a_lone_surrogate_does_not_reach_the_request() -> None:
    bm25_body("bad \ud800 text", top_k=1)["query"]["match"]["content"]["query"].encode()
