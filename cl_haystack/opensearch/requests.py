"""Search requests for one index: what is sent, and what makes documents of the answer. No input or output."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from haystack import Document
from numpy.typing import NDArray

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import ConfigurationError, IndexingError
from cl_haystack.opensearch.diversity import diversify, num_candidates, vectors_of, without_embedding
from cl_haystack.opensearch.documents import read_hit
from cl_haystack.opensearch.fusion import Fusion, HybridSettings
from cl_haystack.opensearch.mapping import CONTENT_FIELD
from cl_haystack.opensearch.queries import (
    Vector,
    bm25_body,
    check_top_k,
    exact_body,
    hybrid_body,
    knn_body,
    radial_body,
)
from cl_haystack.opensearch.scores import score_of, similarity_of, similarity_threshold
from cl_haystack.opensearch.settings import SpaceType
from cl_haystack.opensearch.vector_form import VectorForm

Hits = list[dict[str, Any]]


def read_hits(hits: Hits) -> list[Document]:
    """Return the documents of an answer; highlighted passages, where asked for, are in their meta."""
    return [_with_highlights(read_hit(hit), hit.get("highlight")) for hit in hits]


def _with_highlights(document: Document, highlight: dict[str, list[str]] | None) -> Document:
    if highlight is None:
        return document
    return replace(document, meta={**document.meta, "highlights": highlight[CONTENT_FIELD]})


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is sent to the server, and what makes documents of its answer."""

    body: dict[str, Any]
    read: Callable[[Hits], list[Document]] = read_hits

    def without_content(self) -> "SearchRequest":
        """Return the request for ids and scores alone."""
        return SearchRequest({**self.body, "_source": False})


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """What a search must know of the index it is for.

    :param index: its name, for messages.
    :param bundle: the model.
    :param dimension: length of the vectors.
    :param ef_search: candidates that HNSW looks at; None leaves it to the server.
    :param space_type: how vectors are compared.
    :param nested_fields: fields mapped as nested.
    :param mappings: of the concrete indices behind the name.
    :param form: how the index stores vectors.
    """

    index: str
    bundle: ModelBundle
    dimension: int
    ef_search: int | None
    space_type: SpaceType
    nested_fields: frozenset[str]
    mappings: Mapping[str, dict[str, Any]]
    form: VectorForm

    def kept_hybrid_settings(self) -> HybridSettings | None:
        """Return the settings kept in the index; None where there are none, or its parts disagree.

        :returns: the settings.
        :raises IndexingError: they are damaged, or of a later format.
        """
        kept = {HybridSettings.read(mapping, name) for name, mapping in self.mappings.items()}
        return kept.pop() if len(kept) == 1 else None

    def dense(
        self,
        vector: Vector,
        *,
        top_k: int,
        filters: dict[str, Any] | None,
        oversample_factor: float | None = None,
        diversity: float | None = None,
        candidates: int | None = None,
        with_embedding: bool = False,
        exact: bool = False,
    ) -> SearchRequest:
        """Return the request of ``SearchableIndex.search``."""
        check_top_k(top_k)
        row = self._valid(vector)
        common: dict[str, Any] = {
            "top_k": num_candidates(top_k, diversity, candidates),
            "filters": filters,
            "with_embedding": with_embedding or diversity is not None,
            "nested_fields": self.nested_fields,
        }
        if exact and oversample_factor is not None:
            raise ConfigurationError(
                "an exact search looks at every full vector; leave oversample_factor out"
            )
        if exact:
            body = exact_body(row, space_type=self.space_type, **common)
        else:
            common |= {"ef_search": self.ef_search, "oversample_factor": oversample_factor}
            body = knn_body(row, **common)
        return self._diverse(body, diversity, top_k, with_embedding=with_embedding, fused=False)

    def radial(self, vector: Vector, *, min_score: float | str, exact: bool, **options: Any) -> SearchRequest:
        """Return the request of ``SearchableIndex.radial``."""
        if isinstance(min_score, str):
            min_score = score_of(similarity_threshold(min_score, self.bundle), self.space_type)
        options |= {"min_score": min_score, "nested_fields": self.nested_fields}
        row = self._valid(vector)
        if exact:
            return SearchRequest(exact_body(row, space_type=self.space_type, **options))
        return SearchRequest(radial_body(row, **options))

    def bm25(self, query: str, **options: Any) -> SearchRequest:
        """Return the request of ``SearchableIndex.bm25``."""
        return SearchRequest(bm25_body(query, nested_fields=self.nested_fields, **options))

    def hybrid(
        self,
        query: str,
        vector: Vector,
        *,
        top_k: int,
        filters: dict[str, Any] | None,
        weights: Sequence[float] | None,
        fusion: Fusion | None,
        pagination_depth: int | None,
        diversity: float | None = None,
        candidates: int | None = None,
        highlight: bool = False,
        with_embedding: bool = False,
    ) -> SearchRequest:
        """Return the request of ``SearchableIndex.hybrid_search``."""
        check_top_k(top_k)
        body = hybrid_body(
            query,
            self._valid(vector),
            top_k=num_candidates(top_k, diversity, candidates),
            filters=filters,
            settings=self._fusion(weights, fusion, pagination_depth),
            ef_search=self.ef_search,
            highlight=highlight,
            with_embedding=with_embedding or diversity is not None,
            nested_fields=self.nested_fields,
        )
        return self._diverse(body, diversity, top_k, with_embedding=with_embedding, fused=True)

    def _fusion(
        self, weights: Sequence[float] | None, fusion: Fusion | None, pagination_depth: int | None
    ) -> HybridSettings:
        asks_index = weights is None and fusion is None
        kept = self.kept_hybrid_settings() if asks_index else None
        return (kept or HybridSettings()).with_given(weights, fusion, pagination_depth)

    def _diverse(
        self,
        body: dict[str, Any],
        diversity: float | None,
        top_k: int,
        *,
        with_embedding: bool,
        fused: bool,
    ) -> SearchRequest:
        if diversity is None:
            return SearchRequest(body)

        def read(hits: Hits) -> list[Document]:
            documents = read_hits(hits)
            scores = [document.score or 0.0 for document in documents]
            if not fused:
                scores = [similarity_of(score, self.space_type) for score in scores]
            vectors = vectors_of(documents, self.dimension, unit=self.bundle.similarity == "cosine")
            relevance = np.array(scores, dtype=np.float32)
            chosen = diversify(documents, relevance, vectors, diversity=diversity, top_k=top_k)
            return chosen if with_embedding else without_embedding(chosen)

        return SearchRequest(body, read)

    def many(
        self,
        *,
        queries: Sequence[str] | None,
        query_embeddings: Sequence[Vector] | NDArray[np.float32] | None,
        top_k: int,
        filters: dict[str, Any] | None,
        weights: Sequence[float] | None,
        fusion: Fusion | None,
        pagination_depth: int | None,
        exact: bool,
        with_content: bool,
    ) -> list[SearchRequest]:
        """Return the requests of ``SearchableIndex.search_many``."""
        common: dict[str, Any] = {"top_k": top_k, "filters": filters}
        if queries is not None and query_embeddings is not None:
            if len(queries) != len(query_embeddings):
                raise ConfigurationError(f"{len(queries)} texts and {len(query_embeddings)} vectors differ")
            common |= {"weights": weights, "fusion": fusion, "pagination_depth": pagination_depth}
            pairs = zip(queries, query_embeddings, strict=True)
            requests = [self.hybrid(query, vector, **common) for query, vector in pairs]
        elif query_embeddings is not None:
            requests = [self.dense(vector, exact=exact, **common) for vector in query_embeddings]
        elif queries is not None:
            requests = [self.bm25(query, **common) for query in queries]
        else:
            raise ConfigurationError("search_many needs queries, query_embeddings, or both")
        if with_content:
            return requests
        return [request.without_content() for request in requests]

    def _valid(self, vector: Vector) -> list[float] | list[int]:
        row = np.asarray(vector, dtype=np.float32)
        if row.shape != (self.dimension,):
            raise IndexingError(
                f"index '{self.index}': the query's vector has shape {row.shape}, expected "
                f"({self.dimension},); embed the query with {self.bundle.label}"
            )
        if not np.isfinite(row).all():
            raise IndexingError(f"index '{self.index}': the query's vector holds NaN or an infinite number")
        return list(self.form(row).tolist())
