"""Writing ready-made vectors: haystack's DocumentWriter over OpenSearchDocumentStore, and index_documents.

    python benchmarks/index.py [--documents 2000] [--dimension 384] [--rounds 2] [--streams 1 2]

Needs a server at OPENSEARCH_URL. Every round runs every side once on a new index with one shard and no
replica, until its documents can be searched; the best round of each side counts. The last line is JSON.
"""

import argparse
import functools
import json
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from haystack import Document
from haystack.components.writers import DocumentWriter
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore

from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.connection import DEFAULT_URL

Side = Callable[[str, str, list[Document]], None]


class NoEncoder:
    """Stands where an encoder would: every document carries its vector."""

    def __init__(self, bundle: Any) -> None:
        self.bundle = bundle

    def encode_queries(self, texts: Any, **options: Any) -> Any:
        """Fail."""
        raise AssertionError("nothing is embedded here")

    encode_documents = encode_queries


def stock(url: str, name: str, documents: list[Document]) -> None:
    """Write as Haystack does."""
    dimension = len(documents[0].embedding or [])
    store = OpenSearchDocumentStore(
        hosts=url,
        index=name,
        embedding_dim=dimension,
        http_auth=None,
        method={"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"},
        settings={"index.knn": True, "number_of_replicas": 0},
    )
    written = DocumentWriter(store).run(documents)["documents_written"]
    assert written == store.count_documents() == len(documents)
    store.close()


def ours(streams: int, bundle: Any, url: str, name: str, documents: list[Document]) -> None:
    """Write as the indexing job does."""
    index = OpenSearchIndex(url, name, bundle, settings={"number_of_replicas": 0})
    index_documents(documents, index, NoEncoder(bundle), streams=streams)
    assert index.count() == len(documents)
    index.close()


def corpus(count: int, dimension: int) -> list[Document]:
    """Return texts of the standard library with random unit vectors."""
    bodies = [docstring.body for docstring in read_stdlib_docstrings()]
    vectors = np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Document(
            id=f"d{number}",
            content=bodies[number % len(bodies)],
            meta={"n": number},
            embedding=vector.tolist(),
        )
        for number, vector in enumerate(vectors)
    ]


def main() -> None:
    """Run every side in every round and print the best."""
    from tests.opensearch_fakes import tiny_bundle

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    url = os.environ.get("OPENSEARCH_URL", DEFAULT_URL)
    documents = corpus(options.documents, options.dimension)
    bundle = tiny_bundle(options.dimension)
    sides: dict[str, Side] = {"stock": stock}
    for streams in options.streams:
        sides[f"ours, streams={streams}"] = functools.partial(ours, streams, bundle)
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(options.rounds):
        for side, write in sides.items():
            name = f"benchmark-{uuid.uuid4().hex}"
            started = time.perf_counter()
            write(url, name, documents)
            best[side] = min(best[side], time.perf_counter() - started)
            OpenSearchIndex(url, name, bundle).delete()
    for side, seconds in best.items():
        rate, ratio = len(documents) / seconds, best["stock"] / seconds
        print(f"{side:18} {seconds:7.2f} s {rate:9.0f} documents/s {ratio:6.2f} of stock's rate")
    print(json.dumps({"documents": len(documents), "seconds": best}))


if __name__ == "__main__":
    main()
