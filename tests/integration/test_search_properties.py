"""Every search on a real server against brute force in numpy, over random corpora, filters and settings."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from haystack import Document
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cl_haystack.errors import ConfigurationError, IndexingError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.fusion import META_KEY, HybridSettings, Tuned
from cl_haystack.opensearch.scores import score_of
from tests.opensearch_fakes import tiny_bundle
from tests.opensearch_versions import on_every_version
from tests.reference.search import connected, fuse_min_max, fuse_rrf, mmr, scaled

pytestmark = [pytest.mark.integration, on_every_version]

DIMENSION, NUM_DOCUMENTS = 6, 240
WORDS = ["cat", "dog", "owl", "bee", "eel", "fox", "ant"]
SPACES = {"cosinesimil": "cosine", "innerproduct": "dot", "l2": "cosine"}


class Corpus(NamedTuple):
    """An index and what is in it."""

    index: OpenSearchIndex
    documents: list[Document]
    vectors: Any

    def __repr__(self) -> str:
        return self.index.name


# The server answers in milliseconds, but other processes may hold it up.
searches = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**32 - 1)


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def fill(
    url: str, name: str, seed: int, *, bundle: Any = None, unit_length: bool = True, **options: Any
) -> Any:
    """Return an index, its documents, and their vectors, a third of which lie close together."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, DIMENSION))
    near = centres[rng.integers(20, size=NUM_DOCUMENTS // 3)]
    rows = np.concatenate(
        [near + rng.normal(size=near.shape) * 0.03, rng.normal(size=(NUM_DOCUMENTS - len(near), DIMENSION))]
    )
    vectors = (unit(rows) if unit_length else rows).astype(np.float32)
    documents = [
        Document(
            id=f"d{number:03}",
            content=" ".join(rng.choice(WORDS, size=rng.integers(1, 9))),
            meta={"kind": WORDS[number % 7], "rare": number % 40 == 0},
            embedding=vector.tolist(),
        )
        for number, vector in enumerate(vectors)
    ]
    index = OpenSearchIndex(url, name, bundle or tiny_bundle(DIMENSION), **options)
    index.delete()
    index_documents(documents, index, None)
    return Corpus(index, documents, vectors)


@pytest.fixture(scope="module", params=list(SPACES))
def corpus(request: pytest.FixtureRequest, opensearch_url: str) -> Iterator[Corpus]:
    """A corpus in each space type; dot products of vectors of any length in the one that takes them."""
    space, name = request.param, f"test-properties-{request.param}"
    bundle = tiny_bundle(DIMENSION, similarity=SPACES[space], normalize=space != "innerproduct")
    filled = fill(
        opensearch_url,
        name,
        seed=list(SPACES).index(space),
        bundle=bundle,
        unit_length=space != "innerproduct",
        settings={"space_type": space, "number_of_shards": 2},
    )
    yield filled
    filled.index.delete()
    filled.index.close()


@pytest.fixture(scope="module")
def one_shard(opensearch_url: str) -> Iterator[Corpus]:
    """A corpus on one shard, where BM25's statistics are those of all documents."""
    filled = fill(opensearch_url, "test-properties-hybrid", seed=7)
    yield filled
    filled.index.delete()
    filled.index.close()


def random_query(seed: int, vectors: Any) -> Any:
    """Return a vector near some document, as queries are."""
    rng = np.random.default_rng(seed)
    row = vectors[rng.integers(len(vectors))] + rng.normal(size=DIMENSION) * 0.3
    return unit(row).astype(np.float32)


def is_recent(index: OpenSearchIndex) -> bool:
    """Whether this is not the oldest server that is supported, which can less."""
    return not index.connection.client().info()["version"]["number"].startswith("2.")


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


@settings(searches, max_examples=40)
@given(
    seed=seeds,
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    weight=st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]),
    fusion=st.sampled_from(["min_max", "rrf"]),
    depth=st.sampled_from([5, 40, 300]),
    top_k=st.integers(1, 30),
    kind=st.sampled_from([None, "owl"]),
)
def test_hybrid_equals_the_fusion_of_both_searches(
    one_shard: Corpus,
    seed: int,
    words: list[str],
    weight: float,
    fusion: Any,
    depth: int,
    top_k: int,
    kind: str | None,
) -> None:
    index, _, vectors = one_shard
    text, query, weights = " ".join(words), random_query(seed, vectors), (weight, 1 - weight)
    filters = None if kind is None else {"field": "meta.kind", "operator": "==", "value": kind}
    options: dict[str, Any] = {"top_k": max(depth, top_k), "filters": filters}
    legs = [
        {hit.id: hit.score for hit in found}
        for found in (index.bm25(text, **options), index.search(query, **options))
    ]
    if fusion == "rrf" and weight != 0.5 and not is_recent(index):
        with pytest.raises(ConfigurationError, match=r"version 2\.19, .* takes weights from 3\.2 on"):
            index.hybrid_search(text, query, weights=weights, fusion=fusion)
        return
    reference = fuse_min_max if fusion == "min_max" else fuse_rrf
    expected = reference(legs, weights)
    found = index.hybrid_search(
        text,
        query,
        top_k=top_k,
        filters=filters,
        weights=weights,
        fusion=fusion,
        pagination_depth=depth,
    )
    assert len(found) == min(top_k, len(expected))
    best = sorted(expected.values(), reverse=True)[: len(found)]
    assert [hit.score for hit in found] == pytest.approx(best, abs=1e-4)
    assert [hit.score for hit in found] == pytest.approx([expected[hit.id] for hit in found], abs=1e-4)


@pytest.mark.parametrize("data_type", ["byte", "binary"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_bytes_and_signs_are_diversified_by_their_cosines(
    make_index: Any, data_type: str, similarity: str
) -> None:
    dimension, rng = 16, np.random.default_rng(5)
    bundle = tiny_bundle(dimension, similarity=similarity)
    manifest = bundle.manifest.model_copy(update={"calibration": {"int8_scale": 200.0}})
    index = make_index(replace(bundle, manifest=manifest), settings={"data_type": data_type})
    vectors = unit(rng.normal(size=(60, dimension)))
    documents = [
        Document(id=str(number), content=WORDS[number % 7], embedding=vector.tolist())
        for number, vector in enumerate(vectors)
    ]
    index_documents(documents, index, None)
    forms = {"byte": lambda rows: np.clip(np.rint(rows * 200), -127, 127), "binary": np.sign}
    rows = unit(forms[data_type](vectors))
    for query in unit(rng.normal(size=(5, dimension))):
        dense = {"query_embedding": query}
        fused = {"query": "owl bee", **dense, "fusion": "rrf"}
        for ask, options in ((index.search, dense), (index.hybrid_search, fused)):
            best = ask(**options, top_k=30)
            candidates = rows[[int(hit.id) for hit in best]]
            relevance = candidates @ unit(forms[data_type](query))
            if options is fused:
                relevance = scaled([hit.score for hit in best])
            for diversity in (0.02, 0.5):
                expected = mmr(relevance, candidates, diversity, 10)
                found = ask(**options, top_k=10, diversity=diversity)
                assert [hit.id for hit in found] == [best[number].id for number in expected]


def test_diversity_in_fused_ranks_is_that_of_their_places_among_the_candidates(one_shard: Corpus) -> None:
    index, _, vectors = one_shard
    best = index.hybrid_search("owl fox", vectors[5], top_k=30, fusion="rrf", with_embedding=True)
    rows, relevance = np.array([hit.embedding for hit in best]), scaled([hit.score for hit in best])
    for diversity in (0.0, 0.05, 0.5):
        found = index.hybrid_search("owl fox", vectors[5], top_k=10, fusion="rrf", diversity=diversity)
        expected = mmr(relevance, rows, diversity, 10)
        assert [hit.id for hit in found] == [best[number].id for number in expected]
    assert expected != list(range(10))


def test_hybrid_results_can_be_diverse_and_highlighted(one_shard: Corpus) -> None:
    index, _, vectors = one_shard
    best = index.hybrid_search("owl fox", vectors[5], top_k=30, with_embedding=True)
    rows = np.array([hit.embedding for hit in best])
    expected = mmr([hit.score for hit in best], rows, 0.6, 10)
    found = index.hybrid_search("owl fox", vectors[5], top_k=10, diversity=0.6, highlight=True)
    assert [hit.id for hit in found] == [best[number].id for number in expected]
    assert expected != list(range(10))  # diversity has changed something
    marked = {hit.id: hit.meta.get("highlights", []) for hit in found}
    for hit in found:
        words = {word for word in ("owl", "fox") if word in (hit.content or "").split()}
        assert {word for word in WORDS if f"<em>{word}</em>" in " ".join(marked[hit.id])} == words
    assert any(marked.values())
    filters = {"field": "content", "operator": "==", "value": "bee"}
    for found in (
        index.bm25("owl", filters=filters, highlight=True),
        index.hybrid_search("owl", vectors[5], filters=filters, highlight=True),
    ):
        passages = " ".join(passage for hit in found for passage in hit.meta.get("highlights", []))
        assert "<em>owl</em>" in passages
        assert "<em>bee</em>" not in passages


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


def test_duplicates_of_one_document_are_without_itself_and_within_the_filter(corpus: Corpus) -> None:
    index, documents, vectors = corpus
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


def test_kept_settings_are_used_by_searches_that_name_none(one_shard: Corpus, opensearch_url: str) -> None:
    index, _, vectors = one_shard
    tuned = HybridSettings(
        weights=(0.1, 0.9),
        pagination_depth=30,
        tuned=Tuned(dataset="x", queries=3, metric="ndcg@10", value=0.7, before=0.6),
    )
    before = index.hybrid_search("owl", vectors[1])
    assert index.hybrid_settings() is None
    index.keep_hybrid_settings(tuned)
    other = OpenSearchIndex(opensearch_url, index.name, index.bundle)
    assert other.hybrid_settings() == tuned
    wanted = index.hybrid_search("owl", vectors[1], weights=(0.1, 0.9), pagination_depth=30)
    assert other.hybrid_search("owl", vectors[1]) == wanted != before
    assert other.search_many(queries=["owl"], query_embeddings=[vectors[1]]) == [wanted]
    assert other.hybrid_search("owl", vectors[1], weights=(0.5, 0.5)) == before
    equal = index.hybrid_search("owl", vectors[1], fusion="rrf", weights=(0.5, 0.5))
    assert other.hybrid_search("owl", vectors[1], fusion="rrf") == equal  # not weights tuned for another
    client = index.connection.client()
    mapping = client.indices.get_mapping(index=index.name)[index.name]["mappings"]
    damaged = {**mapping["_meta"], META_KEY: {"format_version": 2, "weights": "?"}}
    client.indices.put_mapping(index=index.name, body={"_meta": damaged})
    other.check(fresh=True)
    with pytest.raises(IndexingError, match=r"hybrid settings .*`cl-haystack tune`"):
        other.hybrid_search("owl", vectors[1])
    assert other.hybrid_search("owl", vectors[1], weights=(0.5, 0.5)) == before
    del damaged[META_KEY]
    client.indices.put_mapping(index=index.name, body={"_meta": damaged})
    other.close()
