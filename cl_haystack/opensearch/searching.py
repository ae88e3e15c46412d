"""Searches of a bound index: by vectors, by words, by both, by a threshold; one query or many.

A synchronous method and its asynchronous twin build the same request and differ by an ``await``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from haystack import Document
from numpy.typing import NDArray

from cl_haystack.opensearch.asking import AskableIndex
from cl_haystack.opensearch.duplicates import (
    MAX_DUPLICATES,
    DuplicateGroup,
    group_duplicates,
    read_vectors,
    with_vector,
)
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.fusion import META_KEY, Fusion, HybridSettings
from cl_haystack.opensearch.mapping import space_type_of
from cl_haystack.opensearch.queries import MAX_TOP_K, Vector, filter_clause
from cl_haystack.opensearch.requests import RequestBuilder
from cl_haystack.opensearch.scores import DUPLICATE, score_of, similarity_of, similarity_threshold
from cl_haystack.progress import OnProgress, ignore


class SearchableIndex(AskableIndex):
    """A bound index with its searches; the constructor is that of ``BoundIndex``."""

    _requests: RequestBuilder  # there once the index was checked, which every search begins with

    def search(
        self,
        query_embedding: Vector,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        oversample_factor: float | None = None,
        diversity: float | None = None,
        candidates: int | None = None,
        with_embedding: bool = False,
        exact: bool = False,
    ) -> list[Document]:
        """Return the documents whose vectors are nearest to a query's.

        :param query_embedding: the query's vector.
        :param top_k: how many.
        :param filters: Haystack filters, applied inside the vector search.
        :param oversample_factor: of a quantized index, take so many times ``top_k`` candidates, 1..100, and
            rank them anew by their full vectors; None leaves it to the server.
        :param diversity: 0..1; the higher, the later come documents like one that is already chosen (maximal
            marginal relevance). None returns the nearest.
        :param candidates: how many nearest documents diversity chooses from; None takes ``3 * top_k``.
        :param with_embedding: return the documents' vectors too.
        :param exact: compare with every vector that the filters leave, in place of HNSW's approximation.
        :returns: best first, with scores; with diversity, in the order of choice.
        :raises ConfigurationError: a value cannot be used.
        """
        self.check()
        return self._run(
            self._requests.dense(
                query_embedding,
                top_k=top_k,
                filters=filters,
                oversample_factor=oversample_factor,
                diversity=diversity,
                candidates=candidates,
                with_embedding=with_embedding,
                exact=exact,
            )
        )

    async def search_async(
        self,
        query_embedding: Vector,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        oversample_factor: float | None = None,
        diversity: float | None = None,
        candidates: int | None = None,
        with_embedding: bool = False,
        exact: bool = False,
    ) -> list[Document]:
        """Return what :meth:`search` returns, without holding up the event loop."""
        await self._check_async()
        return await self._run_async(
            self._requests.dense(
                query_embedding,
                top_k=top_k,
                filters=filters,
                oversample_factor=oversample_factor,
                diversity=diversity,
                candidates=candidates,
                with_embedding=with_embedding,
                exact=exact,
            )
        )

    def radial(
        self,
        query_embedding: Vector,
        *,
        min_score: float | str,
        top_k: int = MAX_TOP_K,
        filters: dict[str, Any] | None = None,
        with_embedding: bool = False,
        exact: bool = False,
    ) -> list[Document]:
        """Return the documents that are near enough to a query, however many they are.

        The threshold is part of the vector search: it looks for what reaches it, not for the nearest few.
        It is as approximate as HNSW is; ``exact`` misses nothing.

        :param query_embedding: the query's vector.
        :param min_score: least score, as documents show it, or the name of a threshold that the bundle was
            calibrated with, such as ``duplicate``.
        :param top_k: most documents to return, the best of them; no search returns more than 10,000.
        :param filters: Haystack filters, applied inside the vector search.
        :param with_embedding: return the documents' vectors too.
        :param exact: compare with every vector that the filters leave; of a quantized index this alone gives
            scores of full vectors.
        :returns: best first, with scores.
        :raises ConfigurationError: a value cannot be used, or the bundle has no threshold of that name.
        """
        self.check()
        return self._run(
            self._requests.radial(
                query_embedding,
                min_score=min_score,
                top_k=top_k,
                filters=filters,
                with_embedding=with_embedding,
                exact=exact,
            )
        )

    async def radial_async(
        self,
        query_embedding: Vector,
        *,
        min_score: float | str,
        top_k: int = MAX_TOP_K,
        filters: dict[str, Any] | None = None,
        with_embedding: bool = False,
        exact: bool = False,
    ) -> list[Document]:
        """Return what :meth:`radial` returns, without holding up the event loop."""
        await self._check_async()
        return await self._run_async(
            self._requests.radial(
                query_embedding,
                min_score=min_score,
                top_k=top_k,
                filters=filters,
                with_embedding=with_embedding,
                exact=exact,
            )
        )

    def bm25(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        highlight: bool = False,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return the documents whose content matches the words of a query best.

        :param query: the query's text.
        :param top_k: how many.
        :param filters: Haystack filters.
        :param highlight: put the passages with those words into ``meta["highlights"]``, marked with ``<em>``.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with BM25 scores; none for a blank query.
        :raises ConfigurationError: a value cannot be used.
        """
        self.check()
        return self._run(
            self._requests.bm25(
                query,
                top_k=top_k,
                filters=filters,
                highlight=highlight,
                with_embedding=with_embedding,
            )
        )

    async def bm25_async(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        highlight: bool = False,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return what :meth:`bm25` returns, without holding up the event loop."""
        await self._check_async()
        return await self._run_async(
            self._requests.bm25(
                query,
                top_k=top_k,
                filters=filters,
                highlight=highlight,
                with_embedding=with_embedding,
            )
        )

    def hybrid_search(
        self,
        query: str,
        query_embedding: Vector,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        weights: Sequence[float] | None = None,
        fusion: Fusion | None = None,
        pagination_depth: int | None = None,
        diversity: float | None = None,
        candidates: int | None = None,
        highlight: bool = False,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Search words and vectors in one request, fused on the server.

        With neither ``weights`` nor ``fusion``, the settings apply that ``cl-haystack tune`` has kept in the
        index, else equal weights of scaled scores.

        :param query: the query's text.
        :param query_embedding: the query's vector.
        :param top_k: how many.
        :param filters: Haystack filters, applied inside both searches.
        :param weights: of (BM25, vector), each 0..1, with sum 1.
        :param fusion: ``min_max`` for the weighted mean of scaled scores, ``rrf`` for reciprocal ranks.
        :param pagination_depth: candidates of each of the two on each shard, at least ``top_k`` of them.
        :param diversity: 0..1; the higher, the later come documents like one that is already chosen (maximal
            marginal relevance). None returns the best.
        :param candidates: how many best documents diversity chooses from; None takes ``3 * top_k``.
        :param highlight: put the passages with the query's words into ``meta["highlights"]``.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with fused scores; with diversity, in the order of choice.
        :raises ConfigurationError: a value cannot be used.
        """
        self.check()
        return self._run(
            self._requests.hybrid(
                query,
                query_embedding,
                top_k=top_k,
                filters=filters,
                weights=weights,
                fusion=fusion,
                pagination_depth=pagination_depth,
                diversity=diversity,
                candidates=candidates,
                highlight=highlight,
                with_embedding=with_embedding,
            )
        )

    async def hybrid_search_async(
        self,
        query: str,
        query_embedding: Vector,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        weights: Sequence[float] | None = None,
        fusion: Fusion | None = None,
        pagination_depth: int | None = None,
        diversity: float | None = None,
        candidates: int | None = None,
        highlight: bool = False,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return what :meth:`hybrid_search` returns, without holding up the event loop."""
        await self._check_async()
        return await self._run_async(
            self._requests.hybrid(
                query,
                query_embedding,
                top_k=top_k,
                filters=filters,
                weights=weights,
                fusion=fusion,
                pagination_depth=pagination_depth,
                diversity=diversity,
                candidates=candidates,
                highlight=highlight,
                with_embedding=with_embedding,
            )
        )

    def search_many(
        self,
        *,
        queries: Sequence[str] | None = None,
        query_embeddings: Sequence[Vector] | NDArray[np.float32] | None = None,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        weights: Sequence[float] | None = None,
        fusion: Fusion | None = None,
        pagination_depth: int | None = None,
        exact: bool = False,
        with_content: bool = True,
    ) -> list[list[Document]]:
        """Search for many queries in few requests: by vectors, by texts (BM25), or by both (hybrid).

        :param queries: the texts; with ``query_embeddings`` too, the search is hybrid.
        :param query_embeddings: the vectors, ``(num_queries, dim)``.
        :param top_k: how many documents a query.
        :param filters: Haystack filters.
        :param weights: of a hybrid search, see :meth:`hybrid_search`.
        :param fusion: of a hybrid search.
        :param pagination_depth: of a hybrid search.
        :param exact: of a search by vectors, see :meth:`search`.
        :param with_content: False returns ids and scores alone.
        :returns: one list a query.
        :raises ConfigurationError: neither texts nor vectors are given, or unequal numbers of them.
        """
        self.check()
        return self._run_many(
            self._requests.many(
                queries=queries,
                query_embeddings=query_embeddings,
                top_k=top_k,
                filters=filters,
                weights=weights,
                fusion=fusion,
                pagination_depth=pagination_depth,
                exact=exact,
                with_content=with_content,
            )
        )

    async def search_many_async(
        self,
        *,
        queries: Sequence[str] | None = None,
        query_embeddings: Sequence[Vector] | NDArray[np.float32] | None = None,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        weights: Sequence[float] | None = None,
        fusion: Fusion | None = None,
        pagination_depth: int | None = None,
        exact: bool = False,
        with_content: bool = True,
    ) -> list[list[Document]]:
        """Return what :meth:`search_many` returns, without holding up the event loop."""
        await self._check_async()
        return await self._run_many_async(
            self._requests.many(
                queries=queries,
                query_embeddings=query_embeddings,
                top_k=top_k,
                filters=filters,
                weights=weights,
                fusion=fusion,
                pagination_depth=pagination_depth,
                exact=exact,
                with_content=with_content,
            )
        )

    def duplicates_of(
        self,
        embedding: Vector,
        threshold: float | str = DUPLICATE,
        *,
        exclude_id: str | None = None,
        top_k: int = MAX_DUPLICATES,
        filters: dict[str, Any] | None = None,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return the near-duplicates of one document.

        :param embedding: the document's vector.
        :param threshold: least similarity of two duplicates (the model's: cosine or dot product), or the name
            of a threshold that the bundle was calibrated with.
        :param exclude_id: the document's own id, if it is in the index.
        :param top_k: most documents to return.
        :param filters: Haystack filters: look among these documents alone.
        :param with_embedding: return the documents' vectors too.
        :returns: most similar first, with scores.
        :raises ConfigurationError: the bundle has no threshold of that name.
        """
        self.check()
        min_score = score_of(similarity_threshold(threshold, self.bundle), self._requests.space_type)
        found = self.radial(
            embedding,
            min_score=min_score,
            top_k=min(top_k + (exclude_id is not None), MAX_TOP_K),
            filters=filters,
            with_embedding=with_embedding,
        )
        return [document for document in found if document.id != exclude_id][:top_k]

    def duplicates(
        self,
        threshold: float | str = DUPLICATE,
        *,
        filters: dict[str, Any] | None = None,
        on_progress: OnProgress = ignore,
    ) -> list[DuplicateGroup]:
        """Find the near-duplicates among all documents, in groups.

        Two documents are in one group if they are at least as similar as the threshold, or if others between
        them are. Every document is a search, so a large index takes its time; memory holds the ids that have
        a duplicate. Of documents written meanwhile, some are found.

        :param threshold: least similarity of two duplicates (the model's: cosine or dot product), or the name
            of a threshold that the bundle was calibrated with.
        :param filters: Haystack filters: look among these documents alone.
        :param on_progress: told how many documents were looked at.
        :returns: groups of at least two, the largest first.
        :raises ConfigurationError: the bundle has no threshold of that name.
        """
        self.check()
        space_type = self._requests.space_type
        min_score = score_of(similarity_threshold(threshold, self.bundle), space_type)

        def neighbours(vectors: Sequence[list[float]]) -> list[list[tuple[str, float]]]:
            options: dict[str, Any] = {
                "min_score": min_score,
                "top_k": MAX_DUPLICATES,
                "filters": filters,
                "exact": False,
            }
            requests = [self._requests.radial(vector, **options) for vector in vectors]
            found = self._run_many([request.without_content() for request in requests])
            return [[(hit.id, similarity_of(hit.score or 0.0, space_type)) for hit in hits] for hits in found]

        query = with_vector(filter_clause(filters, self._nested_fields))
        with opensearch_errors(self.connection.url, self.name):
            total = int(self._client.count(index=self.name, body={"query": query})["count"])
            vectors = read_vectors(self._client, self.name, query)
            return group_duplicates(vectors, neighbours, total=total, on_progress=on_progress)

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
        """
        self.check(fresh=True)
        for concrete, mapping in self._requests.mappings.items():
            meta = {**mapping.get("_meta", {}), META_KEY: settings.stored()}
            with opensearch_errors(self.connection.url, self.name):
                self._client.indices.put_mapping(index=concrete, body={"_meta": meta})
        self.check(fresh=True)

    def _remember(self, mappings: dict[str, dict[str, Any]]) -> None:
        super()._remember(mappings)
        self._requests = RequestBuilder(
            index=self.name,
            bundle=self.bundle,
            dimension=self.dimension,
            ef_search=self.settings.ef_search,
            space_type=space_type_of(next(iter(mappings.values()))),
            nested_fields=self._nested_fields,
            mappings=mappings,
            form=self._vector_form,
        )
