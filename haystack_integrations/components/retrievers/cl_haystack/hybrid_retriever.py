"""Documents that match a query in words and in meaning, in one request."""

from collections.abc import Sequence
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy
from haystack.utils import ComponentDevice

from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.diversity import num_candidates
from cl_haystack.opensearch.fusion import DEFAULT, Fusion
from haystack_integrations.components.retrievers.cl_haystack.searcher import IndexSearcher
from haystack_integrations.components.retrievers.cl_haystack.serialization import with_index


@component
class CLOpenSearchHybridRetriever(IndexSearcher):
    """Retrieves Documents by BM25 and by vectors, fused on the server in one request.

    With neither ``weights`` nor ``fusion`` it searches as ``cl-haystack tune`` found best for this index,
    else with equal weights. To search by vectors alone, use CLOpenSearchRetriever.
    """

    def __init__(
        self,
        index: OpenSearchIndex,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        weights: Sequence[float] | None = None,
        fusion: Fusion | None = None,
        pagination_depth: int | None = None,
        diversity: float | None = None,
        candidates: int | None = None,
        highlight: bool = False,
        return_embedding: bool = False,
        device: ComponentDevice | None = None,
    ) -> None:
        """Create the component; nothing is contacted or loaded yet.

        :param index: the index to search.
        :param filters: Haystack filters, applied inside both searches.
        :param top_k: how many Documents.
        :param filter_policy: whether filters of a run replace these or are merged with them.
        :param weights: of (BM25, vector), each 0..1, with sum 1.
        :param fusion: ``min_max`` for the weighted mean of scaled scores, ``rrf`` for reciprocal ranks.
        :param pagination_depth: candidates of each of the two on each shard, at least ``top_k`` of them.
        :param diversity: 0..1; the higher, the later come Documents like one that is already chosen (maximal
            marginal relevance). None returns the best.
        :param candidates: how many best Documents diversity chooses from; None takes ``3 * top_k``.
        :param highlight: put the passages with the query's words into ``meta["highlights"]``.
        :param return_embedding: return the Documents' vectors too.
        :param device: where to embed queries; by default the CPU.
        """
        IndexSearcher.__init__(
            self,
            index,
            filters=filters,
            top_k=top_k,
            filter_policy=filter_policy,
            return_embedding=return_embedding,
            device=device,
        )
        DEFAULT.with_given(weights, fusion, pagination_depth)
        num_candidates(top_k, diversity, candidates)
        self.weights = None if weights is None else (float(weights[0]), float(weights[1]))
        self.fusion = fusion
        self.pagination_depth = pagination_depth
        self.diversity = diversity
        self.candidates = candidates
        self.highlight = highlight

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain types.

        :returns: a dictionary for a pipeline's YAML.
        """
        return default_to_dict(
            self,
            **self._init_parameters(),
            weights=None if self.weights is None else list(self.weights),
            fusion=self.fusion,
            pagination_depth=self.pagination_depth,
            diversity=self.diversity,
            candidates=self.candidates,
            highlight=self.highlight,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CLOpenSearchHybridRetriever":
        """Return the component from what :meth:`to_dict` wrote.

        :param data: the dictionary.
        :returns: the component.
        """
        return default_from_dict(cls, with_index(data))

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        query_embedding: list[float] | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve Documents.

        :param query: the query's text.
        :param filters: Haystack filters, used as the filter policy says.
        :param top_k: how many Documents; None takes the component's.
        :param query_embedding: the query's vector, if it is known; the text is then not embedded.
        :returns: ``documents``, best first, with fused scores.
        :raises TypeError: ``query`` is no text.
        """
        self._require_text(query)
        vector = self._vector(query, query_embedding)
        return {"documents": self.index.hybrid_search(query, vector, **self._options(filters, top_k))}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        query_embedding: list[float] | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve what :meth:`run` retrieves, without holding up the event loop."""
        self._require_text(query)
        vector = await self._vector_async(query, query_embedding)
        documents = await self.index.hybrid_search_async(query, vector, **self._options(filters, top_k))
        return {"documents": documents}

    def _require_text(self, query: Any) -> None:
        if query is None:
            raise TypeError(
                "CLOpenSearchHybridRetriever expects the query's text; to search by an embedding alone, use "
                "CLOpenSearchRetriever"
            )

    def _options(self, filters: dict[str, Any] | None, top_k: int | None) -> dict[str, Any]:
        return {
            **IndexSearcher._options(self, filters, top_k),
            "weights": self.weights,
            "fusion": self.fusion,
            "pagination_depth": self.pagination_depth,
            "diversity": self.diversity,
            "candidates": self.candidates,
            "highlight": self.highlight,
        }
