"""Nearest, radial and diverse searches and duplicates against brute force in numpy, over random corpora."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from haystack import Document
from hypothesis import assume, given
from hypothesis import strategies as st

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.scores import score_of
from tests.opensearch_fakes import tiny_bundle
from tests.opensearch_versions import on_every_version
from tests.random_corpus import (
    DIMENSION,
    NUM_DOCUMENTS,
    WORDS,
    Corpus,
    fill,
    is_recent,
    random_query,
    searches,
    seeds,
    unit,
)
from tests.reference.search import connected, mmr

pytestmark = [pytest.mark.integration, on_every_version]

SPACES = {"cosinesimil": "cosine", "innerproduct": "dot", "l2": "cosine"}


def filled_corpus(url: str, space: str, name: str, **settings: int) -> Corpus:
    bundle = tiny_bundle(DIMENSION, similarity=SPACES[space], normalize=space != "innerproduct")
    filled: Corpus = fill(
        url,
        name,
        seed=list(SPACES).index(space),
        bundle=bundle,
        unit_length=space != "innerproduct",
        settings={"space_type": space, "number_of_shards": 2, **settings},
    )
    return filled


@pytest.fixture(scope="module", params=list(SPACES))
def corpus(request: pytest.FixtureRequest, opensearch_url: str) -> Iterator[Corpus]:
    """A corpus in each space type; dot products of vectors of any length in the one that takes them."""
    filled = filled_corpus(opensearch_url, request.param, f"test-properties-{request.param}")
    yield filled
    filled.index.delete()
    filled.index.close()


@pytest.fixture(scope="module", params=list(SPACES))
def dense_corpus(request: pytest.FixtureRequest, opensearch_url: str) -> Iterator[Corpus]:
    """The same in graphs that link nearly all documents: no search misses one by chance, as 2.19 does."""
    name = f"test-properties-dense-{request.param}"
    filled = filled_corpus(opensearch_url, request.param, name, m=64, ef_construction=256)
    yield filled
    filled.index.delete()
    filled.index.close()


def scores_of(index: OpenSearchIndex, vectors: Any, query: Any) -> Any:
    index.check()
    space = index._requests.space_type
    return np.array([score_of(float(similarity), space) for similarity in vectors @ query])


@searches
@given(seed=seeds, top_k=st.integers(1, 60), kind=st.sampled_from([None, *WORDS]))
def test_nearest_and_exact_equal_brute_force(corpus: Corpus, seed: int, top_k: int, kind: str | None) -> None:
    index, documents, vectors = corpus
    query = random_query(seed, vectors)
    allowed = np.array([kind is None or document.meta["kind"] == kind for document in documents])
    expected = np.sort(scores_of(index, vectors, query)[allowed])[::-1][:top_k]
    filters = None if kind is None else {"field": "meta.kind", "operator": "==", "value": kind}
    for exact in (False, True):
        found = index.search(query, top_k=top_k, filters=filters, exact=exact)
        assert [hit.score for hit in found] == pytest.approx(expected.tolist(), rel=1e-4)


@searches
@given(seed=seeds, rank=st.integers(0, NUM_DOCUMENTS - 2), kind=st.sampled_from([None, *WORDS]))
def test_radial_returns_all_that_reach_the_threshold(
    corpus: Corpus, seed: int, rank: int, kind: str | None
) -> None:
    index, documents, vectors = corpus
    query = random_query(seed, vectors)
    scores = scores_of(index, vectors, query)
    ordered = np.sort(scores)[::-1]
    assume(ordered[rank] - ordered[rank + 1] > 1e-5)  # scores have seven digits
    threshold = float(ordered[rank] + ordered[rank + 1]) / 2
    allowed = np.array([kind is None or document.meta["kind"] == kind for document in documents])
    expected = {documents[number].id for number in np.flatnonzero((scores >= threshold) & allowed)}
    filters = None if kind is None else {"field": "meta.kind", "operator": "==", "value": kind}
    for exact in (True, False):
        found = index.radial(query, min_score=threshold, filters=filters, exact=exact)
        assert {hit.id for hit in found} <= expected
        if exact or is_recent(index):
            assert {hit.id for hit in found} == expected
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    best = index.radial(query, min_score=threshold, filters=filters, top_k=3)
    assert [hit.score for hit in best] == pytest.approx([hit.score for hit in found[:3]], rel=1e-6)


def test_radial_misses_next_to_nothing(corpus: Corpus) -> None:
    """HNSW is approximate: of 15,659 hits, 2.19.6 missed 3 (cosine) to 54 (dot product), 3.6.0 none."""
    index, _, vectors = corpus
    found = wanted = 0
    for seed in range(40):
        scores = scores_of(index, vectors, query := random_query(seed, vectors))
        threshold = float(np.sort(scores)[-5 * seed - 1]) - 1e-4
        found += len(index.radial(query, min_score=threshold))
        wanted += int((scores >= threshold).sum())
    assert found >= (1.0 if is_recent(index) else 0.99) * wanted


@searches
@given(
    seed=seeds,
    top_k=st.integers(1, 20),
    diversity=st.floats(0, 1),
    extra=st.integers(0, 60),
)
def test_diversity_is_maximal_marginal_relevance(
    corpus: Corpus, seed: int, top_k: int, diversity: float, extra: int
) -> None:
    index, documents, vectors = corpus
    query = random_query(seed, vectors)
    similarity = vectors @ query
    candidates = np.argsort(-similarity)[: top_k + extra]
    expected = mmr(similarity[candidates].tolist(), vectors[candidates], diversity, top_k)
    found = index.search(query, top_k=top_k, diversity=diversity, candidates=top_k + extra)
    assert [hit.id for hit in found] == [documents[candidates[number]].id for number in expected]
    assert all(hit.embedding is None for hit in found)


def test_a_quantized_index_is_ranked_anew_by_full_vectors(opensearch_url: str) -> None:
    """With 7 bits a component, scores are wrong in the third digit; rescored ones are right."""
    index, _, vectors = fill(opensearch_url, "test-properties-sq", 3, settings={"encoder": "sq"})
    try:
        wrong = 0
        for seed in range(10):
            query = random_query(seed, vectors)
            expected = np.sort(scores_of(index, vectors, query))[::-1][:10].tolist()
            plain = [hit.score for hit in index.search(query, top_k=10)]
            wrong += plain != pytest.approx(expected, rel=1e-5)
            rescored = index.search(query, top_k=10, oversample_factor=5.0)
            assert [hit.score for hit in rescored] == pytest.approx(expected, rel=1e-5)
        assert wrong > 5
    finally:
        index.delete()
        index.close()


def test_duplicates_are_the_connected_components(corpus: Corpus) -> None:
    index, documents, vectors = corpus
    index.check()
    # Of vectors of any length the dot products are larger.
    threshold = 0.99 * (12 if index._requests.space_type == "innerproduct" else 1)
    similarity = vectors @ vectors.T
    expected = connected(similarity >= threshold)
    assert 1 < len(expected) < NUM_DOCUMENTS / 2
    progress: list[tuple[int, int | None]] = []
    groups = index.duplicates(threshold, on_progress=lambda step: progress.append((step.done, step.total)))
    assert {group.ids for group in groups} == {
        tuple(documents[number].id for number in group) for group in expected
    }
    assert [len(group.ids) for group in groups] == sorted((len(group) for group in expected), reverse=True)
    for group in groups:
        numbers = [int(document_id[1:]) for document_id in group.ids]
        links = [
            similarity[a, b] for a in numbers for b in numbers if a != b and similarity[a, b] >= threshold
        ]
        assert group.lowest_similarity == pytest.approx(min(links), abs=1e-4)
    assert progress[-1] == (NUM_DOCUMENTS, NUM_DOCUMENTS)
    assert len(progress) > 1


def test_crowds_of_copies_are_grouped_whole(opensearch_url: str) -> None:
    """Every document of a crowd has more neighbours than an answer holds; some crowds are near each other."""
    rng = np.random.default_rng(11)
    centres = unit(rng.normal(size=(4, DIMENSION)))
    near_first = unit(centres[0] + 0.05 * unit(rng.normal(size=DIMENSION)))
    crowds = [
        np.tile(centres[0], (500, 1)),
        np.tile(near_first, (120, 1)),
        unit(centres[1] + rng.normal(size=(150, DIMENSION)) * 0.01),
        np.tile(centres[2], (101, 1)),
        unit(rng.normal(size=(60, DIMENSION))),
    ]
    vectors = rng.permutation(np.concatenate(crowds)).astype(np.float32)
    expected = connected(vectors @ vectors.T >= 0.99)
    assert sorted(map(len, expected))[-3:] == [101, 150, 620]
    index = OpenSearchIndex(
        opensearch_url, "test-properties-crowds", tiny_bundle(DIMENSION), settings={"number_of_shards": 2}
    )
    index.delete()
    documents = [
        Document(id=f"d{number}", content="x", embedding=vector.tolist())
        for number, vector in enumerate(vectors)
    ]
    index_documents(documents, index, None)
    try:
        groups = index.duplicates(0.99)
        assert {group.ids for group in groups} == {
            tuple(sorted(f"d{number}" for number in group)) for group in expected
        }
    finally:
        index.delete()
        index.close()


def test_duplicates_of_one_document_are_without_itself_and_within_the_filter(dense_corpus: Corpus) -> None:
    index, documents, vectors = dense_corpus
    similarity = vectors @ vectors[0]
    threshold = float(np.sort(similarity)[-12])
    near = [number for number in np.argsort(-similarity) if similarity[number] >= threshold and number]
    found = index.duplicates_of(vectors[0], threshold - 1e-4, exclude_id="d000")
    assert [hit.id for hit in found] == [documents[number].id for number in near]
    filters = {"field": "meta.kind", "operator": "==", "value": documents[near[0]].meta["kind"]}
    found = index.duplicates_of(vectors[0], threshold - 1e-4, filters=filters, exclude_id="d000")
    assert [hit.id for hit in found] == [
        documents[number].id for number in near if documents[number].meta["kind"] == filters["value"]
    ]


def test_a_calibrated_threshold_is_meant_by_its_name(corpus: Corpus, opensearch_url: str) -> None:
    index, _, vectors = corpus
    with pytest.raises(ConfigurationError, match=r"no calibrated threshold 'duplicate'.*--calibrate"):
        index.radial(vectors[0], min_score="duplicate")
    with pytest.raises(ConfigurationError, match="has none"):
        index.duplicates_of(vectors[0])
    threshold = {
        "score": 0.97,
        "wanted_precision": 0.9,
        "precision": 0.9,
        "precision_ci95": (0.8, 1.0),
        "recall": 0.5,
        "pairs": 10,
        "positives": 5,
        "dataset": "pairs",
        "sha256": "0" * 64,
    }
    manifest = type(index.bundle.manifest).model_validate(
        {**index.bundle.manifest.model_dump(), "calibration": {"thresholds": {"duplicate": threshold}}}
    )
    calibrated = OpenSearchIndex(opensearch_url, index.name, replace(index.bundle, manifest=manifest))
    similarity = vectors @ vectors[0]
    expected = int((similarity >= 0.97).sum())
    assert len(calibrated.radial(vectors[0], min_score="duplicate", exact=True)) == expected
    assert calibrated.duplicates_of(vectors[0]) == calibrated.duplicates_of(vectors[0], 0.97)
    with pytest.raises(ConfigurationError, match=r"'other'.*which has duplicate"):
        calibrated.radial(vectors[0], min_score="other")
    calibrated.close()
