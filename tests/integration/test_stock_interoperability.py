"""Stock components of opensearch-haystack on our indices, and ours on theirs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from haystack import Document
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ByteStream
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.opensearch import (
    OpenSearchBM25Retriever,
    OpenSearchEmbeddingRetriever,
)
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore

from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.content_hash import HASH_FIELD
from tests.opensearch_fakes import WordEncoder, tiny_bundle

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]
MakeStore = Callable[..., OpenSearchDocumentStore]


@pytest.fixture
def make_store(opensearch_url: str, index_name: str) -> Iterator[MakeStore]:
    stores: list[OpenSearchDocumentStore] = []

    def make(**options: Any) -> OpenSearchDocumentStore:
        store = OpenSearchDocumentStore(
            hosts=opensearch_url, index=index_name, embedding_dim=8, http_auth=None, **options
        )
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


def corpus() -> list[Document]:
    return [
        Document(
            id=f"d{number}",
            content=f"text number {number}",
            meta={"n": number, "kind": "even" if number % 2 == 0 else "odd", "tags": ["a", "b"]},
            blob=ByteStream(b"raw", mime_type="text/plain") if number == 3 else None,
        )
        for number in range(40)
    ]


def test_stock_components_read_our_index(make_index: MakeIndex, make_store: MakeStore) -> None:
    encoder = WordEncoder(tiny_bundle())
    index = make_index()
    index_documents(corpus(), index, encoder)
    store = make_store()
    assert store.count_documents() == 40
    filters = {"field": "meta.kind", "operator": "==", "value": "odd"}
    found = sorted(store.filter_documents(filters), key=lambda document: document.id)
    odd = [document for document in corpus() if document.meta["kind"] == "odd"]
    assert [replace(document, score=None) for document in found] == sorted(odd, key=lambda d: d.id)
    query = encoder.encode_queries(["text number 7"])[0].tolist()
    dense = OpenSearchEmbeddingRetriever(
        document_store=store, efficient_filtering=True, filters=filters, top_k=5
    )
    assert dense.run(query_embedding=query)["documents"] == index.search(query, filters=filters, top_k=5)
    words = OpenSearchBM25Retriever(document_store=store, top_k=3)
    assert words.run(query="number 7")["documents"][0].id == "d7"


def test_a_stock_writer_and_ours_store_the_same(
    make_index: MakeIndex, make_store: MakeStore, index_name: str
) -> None:
    encoder = WordEncoder(tiny_bundle())
    documents = corpus()
    index = make_index()
    index_documents(documents, index, encoder)
    client = index.connection.client()

    def stored() -> dict[str, Any]:
        hits = client.search(index=index_name, body={"size": 100})["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in hits}

    ours = stored()
    vectors = encoder.encode_documents([document.content or "" for document in documents])
    embedded = [
        replace(document, embedding=vector.tolist())
        for document, vector in zip(documents, vectors, strict=True)
    ]
    writer = DocumentWriter(make_store(), policy=DuplicatePolicy.OVERWRITE)
    assert writer.run(embedded)["documents_written"] == 40
    theirs = stored()
    assert theirs.keys() == ours.keys()
    for key, source in theirs.items():
        np.testing.assert_allclose(source.pop("embedding"), ours[key].pop("embedding"), atol=1e-6)
        assert source == {name: value for name, value in ours[key].items() if name != HASH_FIELD}
    assert index.search(vectors[5], top_k=1)[0].content == "text number 5"


def test_ours_read_a_stock_index_and_give_the_same_scores(
    make_index: MakeIndex, make_store: MakeStore
) -> None:
    encoder = WordEncoder(tiny_bundle())
    store = make_store(method={"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"})
    vectors = encoder.encode_documents([document.content or "" for document in corpus()])
    store.write_documents(
        [replace(document, embedding=row.tolist()) for document, row in zip(corpus(), vectors, strict=True)]
    )
    index = make_index(require_binding=False)
    query = encoder.encode_queries(["text number 7"])[0].tolist()
    theirs = OpenSearchEmbeddingRetriever(document_store=store, top_k=5).run(query_embedding=query)[
        "documents"
    ]
    assert index.search(query, top_k=5) == theirs
    assert theirs[0].score == pytest.approx(1.0, abs=1e-5)
    assert index.bm25("number 7", top_k=1)[0].id == "d7"
    assert len(index.hybrid_search("number 7", query, top_k=10)) == 10
    assert index.get_documents(["d3"])[0].blob == corpus()[3].blob
    report = index_documents([Document(id="ours", content="from us")], index, encoder)
    assert report.written == 1
    assert store.count_documents() == 41


@pytest.mark.parametrize("operator", ["==", "!=", ">", ">=", "<", "<=", "in", "not in"])
def test_every_filter_operator_means_what_it_means_to_the_stock_store(
    make_index: MakeIndex, make_store: MakeStore, operator: str
) -> None:
    encoder = WordEncoder(tiny_bundle())
    index = make_index()
    index_documents(corpus(), index, encoder)
    value: Any = [3, 5, 8] if "in" in operator else 8
    filters = {"field": "meta.n", "operator": operator, "value": value}
    expected = {document.id for document in make_store().filter_documents(filters)}
    assert 0 < len(expected) < 40
    assert {document.id for document in index.search([1.0] * 8, top_k=100, filters=filters)} == expected
    assert {document.id for document in index.bm25("text", top_k=100, filters=filters)} == expected
