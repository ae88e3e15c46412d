"""Searches on a real server against brute force on the same vectors."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from haystack import Document

from cl_haystack.opensearch import OpenSearchIndex, bound_index, index_documents
from cl_haystack.opensearch.fusion import HybridSettings
from tests.opensearch_fakes import WordEncoder, tiny_bundle

pytestmark = pytest.mark.integration

NUM_DOCUMENTS = 600
ANIMALS = ["cat", "dog", "owl", "bee", "eel", "fox", "ant"]


def documents() -> list[Document]:
    rng = np.random.default_rng(5)
    return [
        Document(
            id=str(number),
            content=" ".join(rng.choice(ANIMALS, size=3)) + f" number {number}",
            meta={"year": 1990 + number % 30, "kind": ANIMALS[number % 7], "rare": number % 50 == 0},
        )
        for number in range(NUM_DOCUMENTS)
    ]


@pytest.fixture(scope="module")
def filled(opensearch_url: str) -> Any:
    bundle = tiny_bundle(16)
    index = OpenSearchIndex(opensearch_url, "test-search-module", bundle)
    index.delete()
    encoder = WordEncoder(bundle)
    corpus = documents()
    index_documents(corpus, index, encoder)
    vectors = encoder.encode_documents([document.content or "" for document in corpus])
    yield index, corpus, vectors, encoder
    index.delete()
    index.close()


def nearest(vectors: Any, query: Any, allowed: list[int], count: int) -> list[str]:
    similarity = vectors @ query
    return [str(number) for number in sorted(allowed, key=lambda number: -similarity[number])[:count]]


FILTERS: list[tuple[dict[str, Any] | None, Callable[[dict[str, Any]], bool]]] = [
    (None, lambda meta: True),
    ({"field": "meta.rare", "operator": "==", "value": True}, lambda meta: meta["rare"]),
    (
        {"field": "meta.kind", "operator": "in", "value": ["owl", "bee"]},
        lambda meta: meta["kind"] in ("owl", "bee"),
    ),
    (
        {
            "operator": "AND",
            "conditions": [
                {"field": "meta.year", "operator": ">=", "value": 2010},
                {
                    "operator": "OR",
                    "conditions": [
                        {"field": "meta.kind", "operator": "==", "value": "fox"},
                        {"field": "meta.kind", "operator": "==", "value": "ant"},
                    ],
                },
            ],
        },
        lambda meta: meta["year"] >= 2010 and meta["kind"] in ("fox", "ant"),
    ),
    (
        {"operator": "NOT", "conditions": [{"field": "meta.kind", "operator": "!=", "value": "eel"}]},
        lambda meta: meta["kind"] == "eel",
    ),
]


@pytest.mark.parametrize(("filters", "allows"), FILTERS)
def test_nearest_documents_equal_brute_force_with_any_filter(filled: Any, filters: Any, allows: Any) -> None:
    index, corpus, vectors, encoder = filled
    allowed = [number for number, document in enumerate(corpus) if allows(document.meta)]
    assert allowed
    for query in encoder.encode_queries(["cat owl bee", "fox number 77", "dog dog dog"]):
        found = index.search(query, top_k=10, filters=filters)
        # Scores, not ids: documents with the same words have the same vector.
        expected = [
            (1 + float(vectors[int(key)] @ query)) / 2 for key in nearest(vectors, query, allowed, 10)
        ]
        assert [document.score for document in found] == pytest.approx(expected, abs=1e-5)
        assert all(allows(document.meta) for document in found)
        assert len(found) == 10


def test_results_are_whole_documents_without_vectors_unless_asked_for(filled: Any) -> None:
    index, corpus, vectors, _ = filled
    (found,) = index.search(vectors[42], top_k=1, filters={"field": "id", "operator": "==", "value": "42"})
    assert (found.id, found.content, found.meta) == ("42", corpus[42].content, corpus[42].meta)
    assert found.embedding is None
    (found,) = index.search(vectors[42], top_k=1, with_embedding=True)
    assert found.embedding is not None
    assert len(found.embedding) == 16


def test_bm25_finds_words_within_the_filter(filled: Any) -> None:
    index, *_ = filled
    assert index.bm25("number 77", top_k=1)[0].id == "77"
    filters = {"field": "meta.kind", "operator": "==", "value": "owl"}
    found = index.bm25("cat", top_k=20, filters=filters)
    assert len(found) == 20
    assert all(document.meta["kind"] == "owl" and "cat" in document.content for document in found)
    assert index.bm25(" ", top_k=5) == []


@pytest.mark.parametrize("fusion", ["min_max", "rrf"])
@pytest.mark.parametrize("top_k", [1, 10, 150])
def test_hybrid_is_one_request_and_gives_exactly_top_k(
    filled: Any, fusion: Any, top_k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, *_, encoder = filled
    monkeypatch.setattr(bound_index, "RECHECK_AFTER_S", 60.0)  # which would be a second request
    index.check()
    transport = index.connection.client().transport
    requests: list[tuple[str, str]] = []
    original = transport.perform_request

    def counting(method: str, url: str, **arguments: Any) -> Any:
        requests.append((method, url))
        return original(method, url, **arguments)

    monkeypatch.setattr(transport, "perform_request", counting)
    query = encoder.encode_queries(["cat number 77"])[0]
    found = index.hybrid_search("cat number 77", query, top_k=top_k, fusion=fusion)
    assert len(found) == top_k
    assert len({document.id for document in found}) == top_k
    assert requests == [("POST", f"/{index.name}/_search")]


def test_hybrid_equals_the_fusion_computed_here(filled: Any) -> None:
    index, _, _, encoder = filled
    text = "fox owl number 123"
    query = encoder.encode_queries([text])[0]
    depth = HybridSettings().pagination_depth
    legs = [index.bm25(text, top_k=depth), index.search(query, top_k=depth)]
    for weights in ((0.5, 0.5), (0.2, 0.8)):
        fused: dict[str, float] = {}
        for weight, leg in zip(weights, legs, strict=True):
            scores = [document.score for document in leg]
            low, high = min(scores), max(scores)
            for document in leg:
                scaled = max((document.score - low) / (high - low), 0.001)  # the server's floor
                fused[document.id] = fused.get(document.id, 0.0) + weight * scaled
        expected = sorted(fused.values(), reverse=True)[:10]
        found = index.hybrid_search(text, query, top_k=10, weights=weights)
        assert [document.score for document in found] == pytest.approx(expected, abs=2e-3)


def test_hybrid_filters_both_legs(filled: Any) -> None:
    index, *_, encoder = filled
    filters = {"field": "meta.rare", "operator": "==", "value": True}
    query = encoder.encode_queries(["cat"])[0]
    found = index.hybrid_search("cat", query, top_k=12, filters=filters)
    assert len(found) == 12  # there are exactly 12, spread over the whole index
    assert all(document.meta["rare"] for document in found)


@pytest.mark.parametrize("with_content", [True, False])
def test_many_queries_at_once_equal_single_ones(filled: Any, with_content: bool) -> None:
    index, *_, encoder = filled
    texts = [f"{animal} number {number}" for number, animal in enumerate(ANIMALS * 6)]
    vectors = encoder.encode_queries(texts)
    many = {
        "dense": index.search_many(query_embeddings=vectors, top_k=3, with_content=with_content),
        "bm25": index.search_many(queries=texts, top_k=3, with_content=with_content),
        "hybrid": index.search_many(
            queries=texts, query_embeddings=vectors, top_k=3, with_content=with_content
        ),
    }
    for position in (0, 31, 32, len(texts) - 1):
        single = {
            "dense": index.search(vectors[position], top_k=3),
            "bm25": index.bm25(texts[position], top_k=3),
            "hybrid": index.hybrid_search(texts[position], vectors[position], top_k=3),
        }
        for mode, documents_ in single.items():
            found = many[mode][position]
            assert [d.score for d in found] == pytest.approx([d.score for d in documents_], abs=1e-6)
            if with_content:
                assert found == documents_
            else:
                assert all(document.content is None and document.id for document in found)
    assert index.search_many(queries=[]) == []


def test_asynchronous_searches_equal_synchronous_ones(filled: Any, opensearch_url: str) -> None:
    index, *_, encoder = filled
    query = encoder.encode_queries(["cat number 5"])[0]
    filters = {"field": "meta.kind", "operator": "==", "value": "cat"}
    other = OpenSearchIndex(opensearch_url, index.name, index.bundle)

    async def search() -> list[list[Document]]:
        results = await asyncio.gather(
            other.search_async(query, top_k=5, filters=filters),
            other.bm25_async("cat number 5", top_k=5),
            other.hybrid_search_async("cat number 5", query, top_k=5, weights=(0.3, 0.7)),
        )
        await other.close_async()
        return list(results)

    for _ in range(2):  # a second event loop
        assert asyncio.run(search()) == [
            index.search(query, top_k=5, filters=filters),
            index.bm25("cat number 5", top_k=5),
            index.hybrid_search("cat number 5", query, top_k=5, weights=(0.3, 0.7)),
        ]


def test_very_long_queries_are_answered(filled: Any) -> None:
    index, *_, encoder = filled
    text = "cat " + " ".join(f"word{number}" for number in range(5000))
    assert len(index.bm25(text, top_k=5)) == 5
    assert len(index.hybrid_search(text, encoder.encode_queries(["cat"])[0], top_k=5)) == 5
