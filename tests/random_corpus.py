"""An index of random documents and their vectors, and random queries: for searches against brute force."""

from typing import Any, NamedTuple

import numpy as np
from haystack import Document
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from cl_haystack.opensearch import OpenSearchIndex, index_documents
from tests.opensearch_fakes import tiny_bundle

DIMENSION, NUM_DOCUMENTS = 6, 240
WORDS = ["cat", "dog", "owl", "bee", "eel", "fox", "ant"]

# The server answers in milliseconds, but other processes may hold it up.
searches = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**32 - 1)


class Corpus(NamedTuple):
    """An index and what is in it."""

    index: OpenSearchIndex
    documents: list[Document]
    vectors: Any

    def __repr__(self) -> str:
        return self.index.name


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


def random_query(seed: int, vectors: Any) -> Any:
    """Return a vector near some document, as queries are."""
    rng = np.random.default_rng(seed)
    row = vectors[rng.integers(len(vectors))] + rng.normal(size=DIMENSION) * 0.3
    return unit(row).astype(np.float32)


def is_recent(index: OpenSearchIndex) -> bool:
    """Whether this is not the oldest server that is supported, which can less."""
    return not index.connection.client().info()["version"]["number"].startswith("2.")
