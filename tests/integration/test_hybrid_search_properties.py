"""Hybrid searches against the fusion of both legs in Python, over random queries, filters and settings."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from haystack import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.errors import ConfigurationError, IndexingError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.fusion import META_KEY, HybridSettings, Tuned
from tests.opensearch_fakes import tiny_bundle
from tests.opensearch_versions import on_every_version
from tests.random_corpus import WORDS, Corpus, fill, is_recent, random_query, searches, seeds, unit
from tests.reference.search import fuse_min_max, fuse_rrf, mmr, scaled

pytestmark = [pytest.mark.integration, on_every_version]


@pytest.fixture(scope="module")
def one_shard(opensearch_url: str) -> Iterator[Corpus]:
    """A corpus on one shard, where BM25's statistics are those of all documents."""
    filled = fill(opensearch_url, "test-properties-hybrid", seed=7)
    yield filled
    filled.index.delete()
    filled.index.close()


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
