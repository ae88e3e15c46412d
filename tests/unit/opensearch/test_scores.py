"""Similarities and OpenSearch's scores; maximal marginal relevance against its naive twin."""

from typing import Any

import numpy as np
import pytest
from haystack import Document
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.diversity import diversify, num_candidates
from cl_haystack.opensearch.scores import (
    check_min_score,
    score_of,
    similarity_of,
    similarity_threshold,
)
from tests.opensearch_fakes import tiny_bundle
from tests.reference.search import mmr


@pytest.mark.parametrize(
    ("space_type", "similarity", "score"),
    [
        ("cosinesimil", 1.0, 1.0),
        ("cosinesimil", 0.0, 0.5),
        ("innerproduct", 3.0, 4.0),
        ("innerproduct", -1.0, 0.5),
        ("l2", 1.0, 1.0),
        ("l2", 0.5, 0.5),
    ],
)
def test_scores_at_known_points(space_type: Any, similarity: float, score: float) -> None:
    assert score_of(similarity, space_type) == score


@given(st.floats(-1, 1), st.sampled_from(["cosinesimil", "innerproduct", "l2"]))
def test_a_score_leads_back_to_its_similarity(similarity: float, space_type: Any) -> None:
    assert similarity_of(score_of(similarity, space_type), space_type) == pytest.approx(similarity)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 12), st.floats(0, 1))
def test_diversity_equals_its_naive_twin(seed: int, count: int, top_k: int, diversity: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    relevance = rng.random(count).astype(np.float32)
    documents = [Document(id=str(number)) for number in range(count)]
    found = diversify(documents, relevance, vectors, diversity=diversity, top_k=top_k)
    expected = mmr(relevance.tolist(), vectors, diversity, top_k)
    assert [int(document.id) for document in found] == expected


def test_without_diversity_the_best_come_in_their_order_and_with_it_no_copy_comes_second() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    documents = [Document(id=name) for name in ("a", "copy", "b")]
    relevance = np.array([0.9, 0.8, 0.3], dtype=np.float32)

    def ids(diversity: float) -> list[str]:
        chosen = diversify(documents, relevance, vectors, diversity=diversity, top_k=2)
        return [document.id for document in chosen]

    assert ids(0) == ["a", "copy"]
    assert ids(0.5) == ["a", "b"]


def test_candidates_are_three_times_the_results_unless_said_otherwise() -> None:
    assert num_candidates(10, None, None) == 10
    assert num_candidates(10, 0.5, None) == 30
    assert num_candidates(10, 0.5, 10) == 10
    assert num_candidates(9_000, 0.5, None) == 10_000


def test_scores_and_thresholds_that_no_document_can_have_are_refused() -> None:
    for score in (0, -1, 1.01):
        with pytest.raises(ConfigurationError, match=r"at most 1; that of a cosine c is \(1 \+ c\) / 2"):
            check_min_score(score, "cosinesimil")
    for threshold in (1.01, -1.01, -1):
        with pytest.raises(ConfigurationError, match="above -1 and at most 1"):
            similarity_threshold(threshold, tiny_bundle())
    wrong: list[Any] = [None, [1], True, float("nan"), float("inf")]
    for value in wrong:
        with pytest.raises(ConfigurationError, match=r"threshold is .*, expected a number, or the name"):
            similarity_threshold(value, tiny_bundle(similarity="dot"))
        with pytest.raises(ConfigurationError, match=r"min_score is .*, expected a number, or the name"):
            check_min_score(value, "innerproduct")
    check_min_score(np.float32(0.5), "cosinesimil")
    check_min_score(7.5, "innerproduct")
    assert similarity_threshold(7.5, tiny_bundle(similarity="dot")) == 7.5
