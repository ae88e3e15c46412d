"""Any filter finds the same documents through our searches and the stock store's ``filter_documents``."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from haystack import Document
from haystack.errors import FilterError
from haystack.testing.document_store import FilterDocumentsTest
from haystack_integrations.components.retrievers.opensearch import OpenSearchEmbeddingRetriever
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.opensearch import OpenSearchIndex, index_documents
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import on_every_version

pytestmark = [pytest.mark.integration, on_every_version]

NAME, DIMENSION, NUM_DOCUMENTS = "test-filters-module", 4, 150
DATES = ["1969-07-21T20:17:40", "1989-11-09T17:53:00", "2020-02-29T00:00:00"]
VALUES: dict[str, list[Any]] = {
    "kind": ["owl", "bee", "fox owl", ""],
    "n": [-3, 0, 2, 7],
    "price": [-1.5, 0.25, 2.0],
    "flag": [True, False],
    "date": DATES,
    "tags": [["a"], ["b"], ["a", "b"], ["c", "a"]],
}


class Filled:
    """One index, seen by us and by the stock store."""

    def __init__(self, url: str) -> None:
        self.index = OpenSearchIndex(url, NAME, tiny_bundle(DIMENSION))
        self.index.delete()
        rng = np.random.default_rng(11)
        rows = rng.normal(size=(NUM_DOCUMENTS, DIMENSION)).astype(np.float32)
        documents = []
        for number, row in enumerate(rows):
            meta = {
                name: values[rng.integers(len(values))]
                for name, values in VALUES.items()
                if rng.random() < 0.8
            }
            meta["rare"] = number % 15 == 0
            documents.append(
                Document(id=f"d{number}", content="the same words", meta=meta, embedding=row.tolist())
            )
        index_documents(documents, self.index, None)
        self.store = OpenSearchDocumentStore(
            hosts=url, index=NAME, embedding_dim=DIMENSION, http_auth=None, return_embedding=False
        )

    def __repr__(self) -> str:
        return NAME


@pytest.fixture(scope="module")
def filled(opensearch_url: str) -> Iterator[Filled]:
    made = Filled(opensearch_url)
    yield made
    made.index.delete()
    made.index.close()
    made.store.close()


def comparisons() -> st.SearchStrategy[dict[str, Any]]:
    def of(name: str) -> st.SearchStrategy[dict[str, Any]]:
        single = VALUES[name] if name != "tags" else ["a", "b", "c", "d"]
        kinds = [
            st.tuples(st.sampled_from(["==", "!="]), st.sampled_from([*single, None])),
            st.tuples(st.sampled_from(["in", "not in"]), st.lists(st.sampled_from(single), max_size=3)),
        ]
        if name in ("n", "price", "date"):
            kinds.append(st.tuples(st.sampled_from([">", ">=", "<", "<="]), st.sampled_from([*single, None])))
        if name == "tags":
            kinds.append(st.tuples(st.sampled_from(["==", "!="]), st.sampled_from(VALUES["tags"])))
        return st.one_of(kinds).map(
            lambda pair: {"field": f"meta.{name}", "operator": pair[0], "value": pair[1]}
        )

    return st.sampled_from(list(VALUES)).flatmap(of)


def any_filters() -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        comparisons(),
        lambda inner: st.fixed_dictionaries(
            {
                "operator": st.sampled_from(["AND", "OR", "NOT"]),
                "conditions": st.lists(inner, min_size=1, max_size=3),
            }
        ),
        max_leaves=8,
    )


@settings(max_examples=60, deadline=None)
@given(any_filters(), st.integers(0, 2**32 - 1))
def test_any_filter_means_what_it_means_to_the_stock_store(
    filled: Filled, filters: dict[str, Any], seed: int
) -> None:
    expected = {document.id for document in filled.store.filter_documents(filters)}
    vector = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    every: dict[str, Any] = {"filters": filters, "top_k": 1000}
    found = {
        "dense": filled.index.search(vector, **every),
        "exact": filled.index.search(vector, exact=True, **every),
        "radial": filled.index.radial(vector, min_score=1e-6, **every),
        "bm25": filled.index.bm25("words", **every),
        "hybrid": filled.index.hybrid_search("words", vector, **every),
    }
    assert {name: {hit.id for hit in hits} for name, hits in found.items()} == dict.fromkeys(found, expected)


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.kind", "operator": "in", "value": []},
        {"field": "meta.kind", "operator": "not in", "value": []},
        {"field": "meta.nowhere", "operator": "==", "value": 1},
        {"field": "meta.date", "operator": ">=", "value": "1960-01-01T00:00:00"},
        {"operator": "AND", "conditions": []},
    ],
)
def test_filters_that_the_server_simplifies_are_kept_by_searches_for_duplicates(
    filled: Filled, filters: dict[str, Any]
) -> None:
    """OpenSearch 2.19 forgets the threshold of a vector search that it rewrites."""
    expected = {document.id for document in filled.store.filter_documents(filters)}
    near = filled.index.duplicates_of([1.0] * DIMENSION, -0.999, top_k=1000, filters=filters)
    assert {hit.id for hit in near} == expected
    groups = filled.index.duplicates(-0.999, filters=filters)
    assert {document_id for group in groups for document_id in group.ids} == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"field": "meta.n", "operator": "=", "value": 1},
        {"field": "meta.n", "operator": "=="},
        {"field": "meta.n", "value": 1},
        {"conditions": []},
        {"operator": "XOR", "conditions": [{"field": "meta.n", "operator": "==", "value": 1}]},
        {"field": "meta.kind", "operator": ">", "value": "owl"},
        {"field": "meta.n", "operator": "in", "value": 3},
        {"field": "meta.n", "operator": ">", "value": [1]},
    ],
)
def test_malformed_filters_are_haystacks_error_in_every_search(filled: Filled, wrong: dict[str, Any]) -> None:
    vector = [1.0] * DIMENSION
    for search in (
        lambda: filled.index.search(vector, filters=wrong),
        lambda: filled.index.radial(vector, min_score=0.5, filters=wrong),
        lambda: filled.index.bm25("words", filters=wrong),
        lambda: filled.index.hybrid_search("words", vector, filters=wrong),
        lambda: filled.index.duplicates(0.9, filters=wrong),
    ):
        with pytest.raises(FilterError):
            search()


def test_an_efficient_filter_fills_the_page_where_one_after_the_search_does_not(filled: Filled) -> None:
    rare = {"field": "meta.rare", "operator": "==", "value": True}  # one document in fifteen
    stock = OpenSearchEmbeddingRetriever(document_store=filled.store, top_k=10)
    for seed in range(5):
        vector = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
        after = stock.run(query_embedding=vector.tolist(), filters=rare)["documents"]
        assert len(after) < 10
        for found in (
            filled.index.search(vector, filters=rare),
            filled.index.hybrid_search("words", vector, filters=rare),
        ):
            assert len(found) == 10
            assert all(hit.meta["rare"] for hit in found)


class SearchingStore:
    """Haystack's own filter tests ask a document store; this one answers by one of our searches."""

    def __init__(self, index: OpenSearchIndex) -> None:
        self.index = index

    def write_documents(self, documents: list[Document]) -> int:
        bare = [replace(document, embedding=None) for document in documents]
        return index_documents(bare, self.index, WordEncoder(self.index.bundle)).written

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        if not self.index.count():
            return []
        return self.index.bm25("Document Doc", top_k=1000, filters=filters)


class TestHaystacksOwnFilterTests(FilterDocumentsTest):
    """``haystack.testing``'s tests of filters, every one, through our search."""

    @pytest.fixture
    def document_store(self, make_index: Any) -> SearchingStore:
        index = make_index()
        index.ensure()
        return SearchingStore(index)

    def assert_documents_are_equal(self, received: list[Document], expected: list[Document]) -> None:
        """Compare everything but what a search adds and leaves out: score and vector."""

        def plain(documents: list[Document]) -> dict[str, tuple[Any, ...]]:
            return {document.id: (document.content, document.meta) for document in documents}

        assert plain(received) == plain(expected)
        assert len(received) == len(expected)
