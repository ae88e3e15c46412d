"""A bound index with its searches: by vectors, by words, by both, by a threshold; one query or many.

What can be asked stands in :class:`~cl_haystack.opensearch.requests.RequestBuilder`. Here each of its methods
becomes one that asks the server, and an asynchronous twin.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import update_wrapper
from inspect import signature
from typing import Any, Concatenate, ParamSpec

import numpy as np
from haystack import Document
from numpy.typing import NDArray

from cl_haystack.opensearch.asking import AskableIndex
from cl_haystack.opensearch.duplicates import (
    MAX_DUPLICATES,
    DuplicateGroup,
    group_duplicates,
    outside,
    read_vectors,
    with_vector,
)
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.fusion import META_KEY, HybridSettings
from cl_haystack.opensearch.index_vectors import IndexVectors
from cl_haystack.opensearch.queries import MAX_TOP_K, Vector, filter_clause
from cl_haystack.opensearch.requests import RequestBuilder
from cl_haystack.opensearch.scores import DUPLICATE, score_of, similarity_of, similarity_threshold
from cl_haystack.opensearch.search_request import SearchRequest
from cl_haystack.progress import OnProgress, ignore

Options = ParamSpec("Options")


def _asking(
    build: Callable[Concatenate[RequestBuilder, Options], SearchRequest],
) -> tuple[
    Callable[Concatenate["SearchableIndex", Options], list[Document]],
    Callable[Concatenate["SearchableIndex", Options], Awaitable[list[Document]]],
]:
    """Return the method that asks what ``build`` makes, and one that does not hold up the event loop."""

    def ask(self: "SearchableIndex", /, *values: Options.args, **options: Options.kwargs) -> list[Document]:
        self.check()
        return self._run(build(self._requests, *values, **options))

    async def ask_async(
        self: "SearchableIndex", /, *values: Options.args, **options: Options.kwargs
    ) -> list[Document]:
        await self._check_async()
        return await self._run_async(build(self._requests, *values, **options))

    _present(ask, build, build.__name__, list[Document])
    _present(ask_async, build, f"{build.__name__}_async", list[Document])
    return ask, ask_async


def _asking_many(
    build: Callable[Concatenate[RequestBuilder, Options], list[SearchRequest]],
) -> tuple[
    Callable[Concatenate["SearchableIndex", Options], list[list[Document]]],
    Callable[Concatenate["SearchableIndex", Options], Awaitable[list[list[Document]]]],
]:
    """Return what :func:`_asking` does for many requests in few calls."""

    def ask(
        self: "SearchableIndex", /, *values: Options.args, **options: Options.kwargs
    ) -> list[list[Document]]:
        self.check()
        return self._run_many(build(self._requests, *values, **options))

    async def ask_async(
        self: "SearchableIndex", /, *values: Options.args, **options: Options.kwargs
    ) -> list[list[Document]]:
        await self._check_async()
        return await self._run_many_async(build(self._requests, *values, **options))

    _present(ask, build, build.__name__, list[list[Document]])
    _present(ask_async, build, f"{build.__name__}_async", list[list[Document]])
    return ask, ask_async


def _present(method: Any, build: Callable[..., Any], name: str, result: Any) -> None:
    """Give a method the docstring and parameters of ``build``, and what is its own: name and result."""
    update_wrapper(method, build)
    del method.__wrapped__  # help() and inspect would show the request in place of the documents
    method.__module__, method.__name__, method.__qualname__ = __name__, name, f"SearchableIndex.{name}"
    method.__annotations__ = {**build.__annotations__, "return": result}
    method.__signature__ = signature(build).replace(return_annotation=result)


class SearchableIndex(AskableIndex):
    """A bound index with its searches; the constructor is that of ``BoundIndex``."""

    _requests: RequestBuilder  # there once the index was checked, which every search begins with

    search, search_async = _asking(RequestBuilder.search)
    radial, radial_async = _asking(RequestBuilder.radial)
    bm25, bm25_async = _asking(RequestBuilder.bm25)
    hybrid_search, hybrid_search_async = _asking(RequestBuilder.hybrid_search)
    duplicates_of, duplicates_of_async = _asking(RequestBuilder.duplicates_of)
    search_many, search_many_async = _asking_many(RequestBuilder.search_many)

    def duplicates(
        self,
        threshold: float | str = DUPLICATE,
        *,
        filters: dict[str, Any] | None = None,
        on_progress: OnProgress = ignore,
    ) -> list[DuplicateGroup]:
        """Find the near-duplicates among all documents, in groups.

        Two documents are in one group if they are at least as similar as the threshold, or if others between
        them are. Every document is a search, and one of which there are more than a hundred near-copies two
        or more, so a large index takes its time. Those of a group of more than a thousand are compared here
        with those of other such groups. Memory holds the ids that have a duplicate, and in large groups
        their vectors. Of documents written meanwhile, some are found.

        :param threshold: least similarity of two duplicates (the model's: cosine or dot product), or the name
            of a threshold that the bundle was calibrated with.
        :param filters: Haystack filters: look among these documents alone.
        :param on_progress: told how many documents were looked at.
        :returns: groups of at least two, the largest first.
        :raises ConfigurationError: the bundle has no threshold of that name.
        """
        self.check()
        space_type = self._requests.space_type
        least = similarity_threshold(threshold, self.bundle)
        min_score = score_of(least, space_type)

        def neighbours(
            vectors: Sequence[Vector], known: Sequence[Collection[str]]
        ) -> list[list[tuple[str, float]]]:
            requests = [
                self._requests.radial(
                    vector, min_score=min_score, top_k=MAX_DUPLICATES, filters=outside(ids, filters)
                )
                for vector, ids in zip(vectors, known, strict=True)
            ]
            found = self._run_many([request.without_content() for request in requests])
            return [[(hit.id, similarity_of(hit.score or 0.0, space_type)) for hit in hits] for hits in found]

        query = with_vector(filter_clause(filters, self._nested_fields))
        with opensearch_errors(self.connection.url, self.name):
            total = int(self._client.count(index=self.name, body={"query": query})["count"])
            vectors = read_vectors(self._client, self.name, query)
            return group_duplicates(
                vectors,
                neighbours,
                rows=self._requests.vectors.rows,
                threshold=least,
                total=total,
                on_progress=on_progress,
            )

    def fused_scores(
        self,
        queries: Sequence[str],
        query_embeddings: Sequence[Vector] | NDArray[np.float32],
        settings: HybridSettings,
    ) -> list[dict[str, float]]:
        """Return what a hybrid search gives to all its candidates, not to the best of them alone.

        :param queries: the texts.
        :param query_embeddings: their vectors, ``(num_queries, dim)``.
        :param settings: weights, fusion and depth.
        :returns: score by document id, best first, for each query.
        :raises ConfigurationError: the settings cannot be used on this server.
        """
        self.check()
        requests = self._requests.search_many(
            queries=queries,
            query_embeddings=query_embeddings,
            top_k=1,  # more would deepen the search
            weights=settings.weights,
            fusion=settings.fusion,
            pagination_depth=settings.pagination_depth,
            with_content=False,
        )
        whole = [replace(request, body={**request.body, "size": MAX_TOP_K}) for request in requests]
        return [{hit.id: hit.score or 0.0 for hit in hits} for hits in self._run_many(whole)]

    def hybrid_settings(self) -> HybridSettings | None:
        """Return the settings that were kept in the index, None where nobody has tuned it.

        :returns: weights, fusion, depth, and what they were chosen by.
        :raises IndexingError: they are damaged, or of a later format.
        """
        self.check(fresh=True)
        return self._requests.kept_hybrid_settings()

    def keep_hybrid_settings(self, settings: HybridSettings) -> None:
        """Keep settings in the index, for every hybrid search that names none itself.

        :param settings: weights, fusion, depth, and what they were chosen by.
        :raises IndexingError: others change the mapping so often that they cannot be kept.
        """
        self.check(fresh=True)
        for concrete in self._requests.mappings:
            self._meta.update(concrete, META_KEY, lambda _: settings.stored())
        self.check(fresh=True)

    def _remember(self, mappings: dict[str, dict[str, Any]]) -> None:
        super()._remember(mappings)
        self._requests = RequestBuilder(
            vectors=IndexVectors(self.name, self.bundle, self.dimension, self._vector_form),
            ef_search=self.settings.ef_search,
            space_type=self._expected.space_type(mappings),
            nested_fields=self._nested_fields,
            mappings=mappings,
        )
