"""What is made of answers: maximal marginal relevance on every form of vectors, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.encoder.quantized_vectors import as_bits
from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.index_vectors import IndexVectors
from cl_haystack.opensearch.requests import RequestBuilder
from cl_haystack.opensearch.vector_form import VectorForm
from tests.opensearch_fakes import tiny_bundle
from tests.reference.search import mmr, scaled

DIMENSION = 16
SCALE = 200.0


def builder(form: VectorForm | None = None, space_type: Any = "cosinesimil", **bundle: Any) -> RequestBuilder:
    return RequestBuilder(
        vectors=IndexVectors("docs", tiny_bundle(DIMENSION, **bundle), DIMENSION, form or VectorForm()),
        ef_search=100,
        space_type=space_type,
        nested_fields=frozenset(),
        mappings={},
    )


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def random_rows(seed: int, count: int) -> Any:
    return unit(np.random.default_rng(seed).normal(size=(count, DIMENSION)))


def hits(scores: Any, stored: Any) -> Any:
    return [
        {"_id": str(number), "_score": float(score), "_source": {"content": "x", "embedding": row.tolist()}}
        for number, (score, row) in enumerate(zip(scores, stored, strict=True))
    ]


seeds = st.integers(0, 2**32 - 1)
diversities = st.integers(0, 16).map(lambda parts: parts / 16)  # exact in float32, so that ties stay ties


@given(seeds, diversities)
def test_signs_are_diversified_by_how_many_agree(seed: int, diversity: float) -> None:
    rows, query = random_rows(seed, 12), random_rows(seed + 1, 1)[0]
    signs = np.where(rows > 0, 1, -1) / np.sqrt(DIMENSION)
    agreement = signs @ (np.where(query > 0, 1, -1) / np.sqrt(DIMENSION))
    found = builder(VectorForm("binary"), "hamming").search(query, top_k=5, diversity=diversity)
    differing = (1 - agreement) / 2 * DIMENSION
    expected = mmr(agreement.tolist(), signs, diversity, 5)
    assert [int(hit.id) for hit in found.read(hits(1 / (1 + differing), as_bits(rows)))] == expected


@given(seeds, diversities, st.sampled_from(["cosine", "dot"]))
def test_bytes_are_diversified_by_their_cosines(seed: int, diversity: float, similarity: str) -> None:
    form = VectorForm("byte", SCALE)
    rows, query = random_rows(seed, 12), random_rows(seed + 1, 1)[0]
    stored = np.array([form(row) for row in rows])
    cosines = unit(stored.astype(float)) @ unit(form(query).astype(float))
    found = builder(form, similarity=similarity).search(query, top_k=5, diversity=diversity)
    expected = mmr(cosines.tolist(), unit(stored.astype(float)), diversity, 5)
    assert [int(hit.id) for hit in found.read(hits((1 + cosines) / 2, stored))] == expected


@given(seeds, diversities, st.sampled_from([{}, {"similarity": "dot", "normalize": False}]))
def test_fused_ranks_weigh_as_much_as_similarities(seed: int, diversity: float, bundle: Any) -> None:
    """Vectors of any length are compared by their directions; fused scores know no length either."""
    rows = random_rows(seed, 12)
    scores = 1 / (60 + np.arange(1, 13))
    stored = rows * 7 if bundle else rows
    found = builder(**bundle).hybrid_search("x", rows[0], fusion="rrf", top_k=5, diversity=diversity)
    expected = mmr(scaled(scores.tolist()), rows, diversity, 5)
    assert [int(hit.id) for hit in found.read(hits(scores, stored))] == expected


def test_a_little_diversity_changes_little_in_fused_ranks() -> None:
    rows = random_rows(3, 30)
    found = builder().hybrid_search("x", rows[0], fusion="rrf", top_k=5, diversity=0.01)
    assert [hit.id for hit in found.read(hits(2 / (60 + np.arange(1, 31)), rows))] == list("01234")


@pytest.mark.parametrize("fusion", ["min_max", "rrf"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_candidates_are_all_chosen(fusion: Any, count: int) -> None:
    found = builder().hybrid_search("x", random_rows(0, 1)[0], fusion=fusion, top_k=3, diversity=0.5)
    assert len(found.read(hits(np.full(count, 0.02), random_rows(1, count)))) == count


@pytest.mark.parametrize("top_k", [0, -1, "x", True])
def test_duplicates_are_at_least_one(top_k: Any) -> None:
    with pytest.raises(ConfigurationError, match="top_k is"):
        builder().duplicates_of(random_rows(0, 1)[0], 0.9, exclude_id="a", top_k=top_k)


@pytest.mark.parametrize("query", [None, 3, ["a", "b"]])
def test_what_is_no_text_is_refused_in_our_words(query: Any) -> None:
    for ask in (
        lambda: builder().bm25(query),
        lambda: builder().hybrid_search(query, random_rows(0, 1)[0]),
        lambda: builder().search_many(queries=[query]),
    ):
        with pytest.raises(TypeError, match=r"query is a .*, expected a string"):
            ask()
    with pytest.raises(TypeError, match=r"queries is one string, expected a list"):
        builder().search_many(queries="abc")
