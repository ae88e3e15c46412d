"""Documents that match a query in words and in meaning, in one request."""

import asyncio
from collections.abc import Sequence
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack.utils import ComponentDevice

from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.queries import Fusion, check_fusion, check_top_k, check_weights
from haystack_integrations.components.embedders.cl_haystack.component_encoder import ComponentEncoder
from haystack_integrations.components.retrievers.cl_haystack.retriever import check_query
from haystack_integrations.components.retrievers.cl_haystack.serialization import require_index, with_index


@component
class CLOpenSearchHybridRetriever:
    """Retrieves Documents by BM25 and by vectors, fused on the server in one request.

    To search by vectors alone, use CLOpenSearchRetriever.
    """

    def __init__(
        self,
        index: OpenSearchIndex,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        weights: Sequence[float] = (0.5, 0.5),
        fusion: Fusion = "min_max",
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
        :param return_embedding: return the Documents' vectors too.
        :param device: where to embed queries; by default the CPU.
        """
        self.index = require_index(index, "CLOpenSearchHybridRetriever")
        check_top_k(top_k)
        check_weights(weights)
        check_fusion(fusion)
        self.filters = filters
        self.top_k = top_k
        self.filter_policy = (
            filter_policy if isinstance(filter_policy, FilterPolicy) else FilterPolicy.from_str(filter_policy)
        )
        self.weights = (float(weights[0]), float(weights[1]))
        self.fusion: Fusion = fusion
        self.return_embedding = return_embedding
        self.device = device
        self._encoder = ComponentEncoder(index.bundle_path, device, index.settings.truncate_dim)

    def warm_up(self) -> None:
        """Check that the index belongs to the bundle, and load the model that embeds queries."""
        self.index.check()
        self._encoder.load()

    def close(self) -> None:
        """Close the connection and release the model; the next run opens both again."""
        self.index.close()
        self._encoder.close()

    async def close_async(self) -> None:
        """Close the connections of this event loop and release the model."""
        await self.index.close_async()
        self._encoder.close()

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain types.

        :returns: a dictionary for a pipeline's YAML.
        """
        return default_to_dict(
            self,
            index=self.index,
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            weights=list(self.weights),
            fusion=self.fusion,
            return_embedding=self.return_embedding,
            device=self.device,
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
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve Documents.

        :param query: the query's text.
        :param query_embedding: the query's vector, if it is known; the text is then not embedded.
        :param filters: Haystack filters, used as the filter policy says.
        :param top_k: how many Documents; None takes the component's.
        :returns: ``documents``, best first, with fused scores.
        :raises TypeError: ``query`` is no text.
        """
        self._check_query(query, query_embedding)
        vector = self._embed(query) if query_embedding is None else query_embedding
        return {"documents": self.index.hybrid_search(query, vector, **self._options(filters, top_k))}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve Documents without holding up the event loop.

        :param query: the query's text.
        :param query_embedding: the query's vector, if it is known; the text is then not embedded.
        :param filters: Haystack filters, used as the filter policy says.
        :param top_k: how many Documents; None takes the component's.
        :returns: ``documents``, best first, with fused scores.
        :raises TypeError: ``query`` is no text.
        """
        self._check_query(query, query_embedding)
        vector = await asyncio.to_thread(self._embed, query) if query_embedding is None else query_embedding
        documents = await self.index.hybrid_search_async(query, vector, **self._options(filters, top_k))
        return {"documents": documents}

    def _check_query(self, query: Any, query_embedding: Any) -> None:
        if query is None:
            raise TypeError(
                "CLOpenSearchHybridRetriever expects the query's text; to search by an embedding alone, use "
                "CLOpenSearchRetriever"
            )
        check_query("CLOpenSearchHybridRetriever", query, query_embedding)

    def _embed(self, query: str) -> list[float]:
        return list(self._encoder.encode_queries([query])[0].tolist())

    def _options(self, filters: dict[str, Any] | None, top_k: int | None) -> dict[str, Any]:
        return {
            "filters": apply_filter_policy(self.filter_policy, self.filters, filters),
            "top_k": self.top_k if top_k is None else top_k,
            "weights": self.weights,
            "fusion": self.fusion,
            "with_embedding": self.return_embedding,
        }
