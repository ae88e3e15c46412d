"""What can be searched for in an index, as requests. No input or output.

The methods of :class:`RequestBuilder` are those of the index, which sends what they return.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.diverse_request import diverse_request
from cl_haystack.opensearch.diversity import num_candidates
from cl_haystack.opensearch.duplicates import MAX_DUPLICATES
from cl_haystack.opensearch.fusion import Fusion, HybridSettings
from cl_haystack.opensearch.index_vectors import IndexVectors
from cl_haystack.opensearch.mapping import vector_field
from cl_haystack.opensearch.queries import (
    MAX_TOP_K,
    Vector,
    bm25_body,
    check_top_k,
    exact_body,
    hybrid_body,
    knn_body,
    radial_body,
)
from cl_haystack.opensearch.scores import DUPLICATE, check_min_score, score_of, similarity_threshold
from cl_haystack.opensearch.search_request import SearchRequest, read_hits
from cl_haystack.opensearch.settings import SpaceType


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """Makes the requests of an index; what is said of their results is said of what the index returns.

    :param vectors: those of the index.
    :param ef_search: candidates that HNSW looks at; None leaves it to the server.
    :param space_type: how vectors are compared.
    :param nested_fields: fields mapped as nested.
    :param mappings: of the concrete indices behind the name.
    """

    vectors: IndexVectors
    ef_search: int | None
    space_type: SpaceType
    nested_fields: frozenset[str]
    mappings: Mapping[str, dict[str, Any]]

    def kept_hybrid_settings(self) -> HybridSettings | None:
        """Return the settings kept in the index; None where there are none, or its parts disagree.

        :returns: the settings.
        :raises IndexingError: they are damaged, or of a later format.
        """
        kept = {HybridSettings.read(mapping, name) for name, mapping in self.mappings.items()}
        return kept.pop() if len(kept) == 1 else None

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
    ) -> SearchRequest:
        """Search for the documents whose vectors are nearest to a query's.

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
        check_top_k(top_k)
        row = self.vectors.asked(query_embedding)
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
            body = knn_body(row, rescore_by=self._rescore_by(), **common)
        if diversity is None:
            return SearchRequest(body)
        return diverse_request(
            body, self.vectors, row, diversity=diversity, top_k=top_k, with_embedding=with_embedding
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
    ) -> SearchRequest:
        """Search for the documents that are near enough to a query, however many they are.

        The threshold is part of the vector search: it looks for what reaches it, not for the nearest few.
        It is as approximate as HNSW is; ``exact`` misses nothing, and of a binary index every search is,
        because OpenSearch has no other.

        :param query_embedding: the query's vector.
        :param min_score: least score, as documents show it, or the name of a threshold that the bundle was
            calibrated with, such as ``duplicate``.
        :param top_k: most documents to return, the best of them; no search returns more than 10,000.
        :param filters: Haystack filters.
        :param with_embedding: return the documents' vectors too.
        :param exact: compare with every vector that the filters leave; of a quantized index this alone gives
            scores of full vectors.
        :returns: best first, with scores.
        :raises ConfigurationError: a value cannot be used, or the bundle has no threshold of that name.
        """
        if isinstance(min_score, str):
            min_score = score_of(similarity_threshold(min_score, self.vectors.bundle), self.space_type)
        check_min_score(min_score, self.space_type)
        options: dict[str, Any] = {
            "min_score": min_score,
            "top_k": top_k,
            "filters": filters,
            "with_embedding": with_embedding,
            "nested_fields": self.nested_fields,
        }
        row = self.vectors.asked(query_embedding)
        if exact or self.vectors.form.data_type == "binary":
            return SearchRequest(exact_body(row, space_type=self.space_type, **options))
        return SearchRequest(radial_body(row, **options))

    def duplicates_of(
        self,
        embedding: Vector,
        threshold: float | str = DUPLICATE,
        *,
        exclude_id: str | None = None,
        top_k: int = MAX_DUPLICATES,
        filters: dict[str, Any] | None = None,
        with_embedding: bool = False,
    ) -> SearchRequest:
        """Search for the near-duplicates of one document.

        :param embedding: the document's vector.
        :param threshold: least similarity of two duplicates (the model's: cosine or dot product), or the name
            of a threshold that the bundle was calibrated with.
        :param exclude_id: the document's own id, if it is in the index.
        :param top_k: most documents to return.
        :param filters: Haystack filters: look among these documents alone.
        :param with_embedding: return the documents' vectors too.
        :returns: most similar first, with scores.
        :raises ConfigurationError: a value cannot be used, or the bundle has no threshold of that name.
        """
        check_top_k(top_k)
        request = self.radial(
            embedding,
            min_score=score_of(similarity_threshold(threshold, self.vectors.bundle), self.space_type),
            top_k=min(top_k + (exclude_id is not None), MAX_TOP_K),
            filters=filters,
            with_embedding=with_embedding,
        )
        return replace(
            request, read=lambda hits: read_hits([hit for hit in hits if hit["_id"] != exclude_id][:top_k])
        )

    def bm25(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        highlight: bool = False,
        with_embedding: bool = False,
    ) -> SearchRequest:
        """Search for the documents whose content matches the words of a query best.

        :param query: the query's text.
        :param top_k: how many.
        :param filters: Haystack filters.
        :param highlight: put the passages with those words into ``meta["highlights"]``, marked with ``<em>``.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with BM25 scores; none for a blank query.
        :raises TypeError: ``query`` is no text.
        :raises ConfigurationError: a value cannot be used.
        """
        _require_text(query)
        return SearchRequest(
            bm25_body(
                query,
                top_k=top_k,
                filters=filters,
                highlight=highlight,
                with_embedding=with_embedding,
                nested_fields=self.nested_fields,
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
    ) -> SearchRequest:
        """Search words and vectors in one request, fused on the server.

        With neither ``weights`` nor ``fusion``, the settings apply that ``cl-haystack tune`` has kept in the
        index, else equal weights of scaled scores.

        :param query: the query's text.
        :param query_embedding: the query's vector.
        :param top_k: how many.
        :param filters: Haystack filters, applied inside both searches.
        :param weights: of (BM25, vector), each 0..1, with sum 1; with ``rrf`` unequal ones need OpenSearch
            3.2 or later.
        :param fusion: ``min_max`` for the weighted mean of scaled scores, ``rrf`` for reciprocal ranks.
        :param pagination_depth: candidates of each of the two on each shard, at least ``top_k`` of them.
        :param diversity: 0..1; the higher, the later come documents like one that is already chosen (maximal
            marginal relevance). None returns the best.
        :param candidates: how many best documents diversity chooses from; None takes ``3 * top_k``.
        :param highlight: put the passages with the query's words into ``meta["highlights"]``.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with fused scores; with diversity, in the order of choice.
        :raises TypeError: ``query`` is no text, or the vector holds no numbers.
        :raises ConfigurationError: a value cannot be used, or not on this server.
        """
        _require_text(query)
        check_top_k(top_k)
        settings = self._fusion(weights, fusion, pagination_depth)
        row = self.vectors.asked(query_embedding)
        body = hybrid_body(
            query,
            row,
            top_k=num_candidates(top_k, diversity, candidates),
            filters=filters,
            settings=settings,
            ef_search=self.ef_search,
            highlight=highlight,
            with_embedding=with_embedding or diversity is not None,
            nested_fields=self.nested_fields,
        )
        if diversity is None:
            return SearchRequest(body, weighs_ranks=settings.weighs_ranks)
        request = diverse_request(
            body,
            self.vectors,
            row,
            diversity=diversity,
            top_k=top_k,
            with_embedding=with_embedding,
            fusion=settings.fusion,
        )
        return replace(request, weighs_ranks=settings.weighs_ranks)

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
    ) -> list[SearchRequest]:
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
        :raises TypeError: ``queries`` is one text.
        :raises ConfigurationError: neither texts nor vectors are given, or unequal numbers of them.
        """
        if isinstance(queries, str):
            raise TypeError("queries is one string, expected a list of them; for one query use bm25()")
        common: dict[str, Any] = {"top_k": top_k, "filters": filters}
        if queries is not None and query_embeddings is not None:
            if len(queries) != len(query_embeddings):
                raise ConfigurationError(f"{len(queries)} texts and {len(query_embeddings)} vectors differ")
            common |= {"weights": weights, "fusion": fusion, "pagination_depth": pagination_depth}
            pairs = zip(queries, query_embeddings, strict=True)
            requests = [self.hybrid_search(query, vector, **common) for query, vector in pairs]
        elif query_embeddings is not None:
            requests = [self.search(vector, exact=exact, **common) for vector in query_embeddings]
        elif queries is not None:
            requests = [self.bm25(query, **common) for query in queries]
        else:
            raise ConfigurationError("search_many needs queries, query_embeddings, or both")
        if with_content:
            return requests
        return [request.without_content() for request in requests]

    def _fusion(
        self, weights: Sequence[float] | None, fusion: Fusion | None, pagination_depth: int | None
    ) -> HybridSettings:
        asks_index = weights is None and fusion is None
        kept = self.kept_hybrid_settings() if asks_index else None
        return (kept or HybridSettings()).with_given(weights, fusion, pagination_depth)

    def _rescore_by(self) -> SpaceType | None:
        """Return how a script ranks anew where the engine does not; None where it does."""
        fields = [vector_field(mapping) or {} for mapping in self.mappings.values()]
        is_lucene = any(field.get("method", {}).get("engine") == "lucene" for field in fields)
        return self.space_type if is_lucene else None


def _require_text(query: Any) -> None:
    if not isinstance(query, str):
        raise TypeError(f"query is a {type(query).__name__}, expected a string; for a vector use search()")
