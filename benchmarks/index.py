"""Indexing: the stock path and ours, what a job adds to embedding, and its memory.

    python benchmarks/index.py write [--documents 5183] [--dimension 384] [--rounds 2] [--streams 1 2]
    python benchmarks/index.py end-to-end --bundle FP32 INT8 [--documents 200] [--rounds 2] [--corpus FILE]
    python benchmarks/index.py overhead --bundle BUNDLE [--documents 300] [--rounds 2] [--corpus FILE]
    python benchmarks/index.py memory [--documents 10000 1000000] [--dimension 16] [--bundle BUNDLE]

Needs a server at OPENSEARCH_URL. Sides take turns; the best round of each counts; processor time is the
client's. The last line is JSON. ``write``: ready-made vectors, with DocumentWriter in a Pipeline and with
index_documents, until they can be searched; indices have one shard and no replica. ``end-to-end``: texts
embedded and written, by the embedders that a stock pipeline can have (sentence-transformers' three and
fastembed, those that are installed) before DocumentWriter, and by a job with each bundle. ``overhead``: texts
embedded alone, and embedded and written by a job, on a server that has written 20,000 others before: one that
has just started interprets its code, and takes more of the processor for that. ``memory``: the peak of a
process that runs one job on generated documents, for each number of them; with a bundle they are embedded,
otherwise carry vectors. ``--corpus`` is a BEIR corpus to embed in place of the standard library's docstrings.
"""

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from encode import Encode, peers
from haystack import Document, Pipeline, component
from haystack.components.writers import DocumentWriter
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore
from numpy.typing import NDArray

from cl_haystack.data import read_corpus, to_haystack_document
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.encoder import Encoder
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.connection import DEFAULT_URL

URL = os.environ.get("OPENSEARCH_URL", DEFAULT_URL)
Side = Callable[[str], None]


class NoEncoder:
    """Stands where an encoder would: every document carries its vector."""

    def __init__(self, bundle: Any) -> None:
        self.bundle = bundle

    def encode_queries(self, texts: Any, **options: Any) -> Any:
        """Fail."""
        raise AssertionError("nothing is embedded here")

    encode_documents = encode_queries


@component
class StockEmbedder:
    """Embeds documents as Haystack's embedders do: all texts in one call of the library.

    :param encode: texts to vectors.
    """

    def __init__(self, encode: Encode) -> None:
        self.encode = encode

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed the contents."""
        vectors = self.encode([document.content or "" for document in documents])
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(one, embedding=vector.tolist()) for one, vector in pairs]}


class WordVectors:
    """Unit vectors that lie as real ones do: texts that share words are near each other.

    Independent random vectors have no neighbours, and cost HNSW half as much again.

    :param dimension: of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        self._random = np.random.default_rng(0)
        self._words: dict[str, NDArray[np.float64]] = {}
        self._dimension = dimension

    def __call__(self, text: str) -> list[float]:
        """Return the mean of a random vector a word, and a tenth of noise, which tells equal texts apart."""
        words = text.lower().split()[:50]
        for word in words:
            if word not in self._words:
                self._words[word] = self._random.normal(size=self._dimension)
        vector = np.mean([self._words[word] for word in words], axis=0)
        vector += 0.3 * np.linalg.norm(vector) * self._unit(self._random.normal(size=self._dimension))
        return list(self._unit(vector).astype(np.float32).tolist())

    @staticmethod
    def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
        return unit


def texts_of(options: argparse.Namespace) -> list[Document]:
    """Return the documents to embed: of ``--corpus`` if it is given, else generated ones."""
    count = options.documents[0]
    if options.corpus is None:
        return list(corpus(count, None))
    return [to_haystack_document(one) for one in islice(read_corpus(options.corpus), count)]


def corpus(count: int, vector: Callable[[str], list[float]] | None) -> Iterator[Document]:
    """Generate documents: texts of the standard library, again and again, with a number."""
    bodies = [docstring.body for docstring in read_stdlib_docstrings() if docstring.body.strip()]
    for number in range(count):
        body = bodies[number % len(bodies)]
        embedding = None if vector is None else vector(body)  # which holds a vector a word: no numbers
        yield Document(id=f"d{number}", content=f"{number} {body}", meta={"n": number}, embedding=embedding)


@contextmanager
def new_index(bundle: Any) -> Iterator[OpenSearchIndex]:
    """Open an index of a new name, deleted at the end."""
    name = f"benchmark-{uuid.uuid4().hex}"
    settings = {"number_of_replicas": 0}
    index = OpenSearchIndex(URL, name, bundle, settings=settings, timeout_s=300)  # after a million, it merges
    yield index
    index.delete()
    index.close()


def best_of(sides: dict[str, Side], rounds: int) -> dict[str, tuple[float, float]]:
    """Let the sides take turns; return the best seconds of each, and the processor seconds of that round."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for side, run in sides.items():
            started, worked = time.perf_counter(), time.process_time()
            run(side)
            seconds = (time.perf_counter() - started, time.process_time() - worked)
            best[side] = min(best.get(side, seconds), seconds)
    return best


def stock_pipeline(
    index: str, dimension: int, documents: Sequence[Document], encode: Encode | None = None
) -> None:
    """Write documents with stock components, until they can be searched; embed them first if need be."""
    store = OpenSearchDocumentStore(
        hosts=URL,
        index=index,
        embedding_dim=dimension,
        http_auth=None,
        method={"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"},
        settings={"index.knn": True, "number_of_replicas": 0},
    )
    pipeline = Pipeline()
    pipeline.add_component("writer", DocumentWriter(store))
    if encode is not None:
        pipeline.add_component("embedder", StockEmbedder(encode))
        pipeline.connect("embedder", "writer")
    pipeline.run({"embedder" if encode else "writer": {"documents": documents}})
    assert store.count_documents() == len(documents)
    store.close()


def write(options: argparse.Namespace) -> dict[str, Any]:
    """Compare writing ready-made vectors."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.opensearch_fakes import tiny_bundle

    documents = list(corpus(options.documents[0], WordVectors(options.dimension)))
    bundle = tiny_bundle(options.dimension)

    def stock(side: str) -> None:
        with new_index(bundle) as index:
            stock_pipeline(index.name, options.dimension, documents)

    def ours(streams: int, side: str) -> None:
        with new_index(bundle) as index:
            index_documents(documents, index, NoEncoder(bundle), streams=streams)
            assert index.count() == len(documents)

    sides: dict[str, Side] = {"stock": stock}
    sides |= {f"ours, streams={count}": functools.partial(ours, count) for count in options.streams}
    best = best_of(sides, options.rounds)
    show(best, len(documents))
    return {"documents": len(documents), "seconds": best}


def show(best: dict[str, tuple[float, float]], count: int) -> None:
    """Print the rate of each side, and its ratio to that of the first."""
    first = next(iter(best.values()))[0]
    for side, (seconds, worked) in best.items():
        print(
            f"{side:28} {seconds:7.2f} s ({worked:.2f} s of the client's processor) "
            f"{count / seconds:7.1f} documents/s {first / seconds:6.2f} of the first"
        )


def end_to_end(options: argparse.Namespace) -> dict[str, Any]:
    """Compare embedding and writing."""
    if options.bundle is None:
        raise SystemExit("end-to-end needs --bundle")
    encoders = {path.name: Encoder.load(path) for path in options.bundle}
    bundle = next(iter(encoders.values())).bundle
    documents = texts_of(options)

    def stock(encode: Encode, side: str) -> None:
        with new_index(bundle) as index:
            stock_pipeline(index.name, bundle.manifest.embedding.dimension, documents, encode)

    def ours(encoder: Encoder, side: str) -> None:
        with new_index(encoder.bundle) as index:
            index_documents(documents, index, encoder)
            assert index.count() == len(documents)

    with tempfile.TemporaryDirectory() as folder:
        sides = {f"stock, {name}": functools.partial(stock, one) for name, one in peers(Path(folder)).items()}
        sides |= {f"ours, {name}": functools.partial(ours, one) for name, one in encoders.items()}
        best = best_of(sides, options.rounds + 1)  # the first round warms up
    show(best, len(documents))
    return {"documents": len(documents), "seconds": best}


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """Compare a job with embedding alone."""
    if options.bundle is None:
        raise SystemExit("overhead needs --bundle")
    encoder = Encoder.load(options.bundle[0])
    documents = texts_of(options)

    def embedding(side: str) -> None:
        encoder.encode_documents([document.content or "" for document in documents])

    def job(side: str) -> None:
        with new_index(encoder.bundle) as index:
            index_documents(documents, index, encoder)

    bundle = encoder.bundle
    with new_index(bundle) as index:
        vectors = WordVectors(bundle.manifest.embedding.dimension)
        index_documents(corpus(20_000, vectors), index, NoEncoder(bundle))
    embedding("warm up")
    best = best_of({"embedding alone": embedding, "job": job}, options.rounds)
    more = best["job"][0] / best["embedding alone"][0] - 1
    for side, (seconds, worked) in best.items():
        print(f"{side:18} {seconds:7.2f} s ({worked:.2f} s of the client's processor)")
    print(f"the job takes {more:+.1%} of the time of embedding alone")
    return {"documents": len(documents), "seconds": best, "overhead": more}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Run one job a process, and ask the system for the peak of each."""
    peaks: dict[int, float] = {}
    for count in options.documents:
        command = [sys.executable, __file__, "one-job", "--documents", str(count)]
        command += ["--dimension", str(options.dimension)]
        command += [] if options.bundle is None else ["--bundle", str(options.bundle[0])]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result = json.loads(done.stdout.splitlines()[-1])
        peaks[count] = result["peak_mb"]
        print(
            f"{count:9,} documents {result['seconds']:7.1f} s, peak {result['peak_mb']:.0f} MB, "
            f"{result['before_mb']:.0f} MB of it before the job",
            flush=True,
        )
    return {"peak_mb": peaks}


def one_job(options: argparse.Namespace) -> dict[str, Any]:
    """Run the job of :func:`memory`."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.opensearch_fakes import tiny_bundle

    encoder: Any
    if options.bundle is None:
        encoder, vector = NoEncoder(tiny_bundle(options.dimension)), WordVectors(options.dimension)
    else:
        encoder, vector = Encoder.load(options.bundle[0]), None
    before = peak_mb()
    with new_index(encoder.bundle) as index:
        started = time.perf_counter()
        report = index_documents(corpus(options.documents[0], vector), index, encoder)
        assert report.written == options.documents[0]
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "before_mb": before, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Return the most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


WHAT = {"write": write, "end-to-end": end_to_end, "overhead": overhead, "memory": memory, "one-job": one_job}
DOCUMENTS = {
    "write": [5183],  # as SciFact has
    "end-to-end": [200],
    "overhead": [300],
    "memory": [10_000, 1_000_000],
}


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--documents", type=int, nargs="+")
    parser.add_argument("--dimension", type=int)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--bundle", type=Path, nargs="+")
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    options.documents = options.documents or DOCUMENTS[options.what]
    options.dimension = options.dimension or (384 if options.what == "write" else 16)
    print(json.dumps(WHAT[options.what](options)))


if __name__ == "__main__":
    main()
