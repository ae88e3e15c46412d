"""Documents nearest to a query in meaning."""

import asyncio
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack.utils import ComponentDevice

from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.queries import check_top_k
from haystack_integrations.components.embedders.cl_haystack.component_encoder import ComponentEncoder
from haystack_integrations.components.retrievers.cl_haystack.serialization import require_index, with_index


@component
class CLOpenSearchRetriever:
    """Retrieves the Documents whose vectors are nearest to a query's.

    The query comes as text, embedded here with the index's own bundle, or as an embedding, for example from
    CLTextEmbedder. To search words as well, use CLOpenSearchHybridRetriever.
    """

    def __init__(
        self,
        index: OpenSearchIndex,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        min_score: float | None = None,
        return_embedding: bool = False,
        device: ComponentDevice | None = None,
    ) -> None:
        """Create the component; nothing is contacted or loaded yet.

        :param index: the index to search.
        :param filters: Haystack filters, applied inside the vector search.
        :param top_k: how many Documents.
        :param filter_policy: whether filters of a run replace these or are merged with them.
        :param min_score: leave out Documents below this score.
        :param return_embedding: return the Documents' vectors too.
        :param device: where to embed queries; by default the CPU.
        """
        self.index = require_index(index, "CLOpenSearchRetriever")
        check_top_k(top_k)
        self.filters = filters
        self.top_k = top_k
        self.filter_policy = (
            filter_policy if isinstance(filter_policy, FilterPolicy) else FilterPolicy.from_str(filter_policy)
        )
        self.min_score = min_score
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
            min_score=self.min_score,
            return_embedding=self.return_embedding,
            device=self.device,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CLOpenSearchRetriever":
        """Return the component from what :meth:`to_dict` wrote.

        :param data: the dictionary.
        :returns: the component.
        """
        return default_from_dict(cls, with_index(data))

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str | None = None,
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve Documents.

        :param query: the query's text; not needed with ``query_embedding``.
        :param query_embedding: the query's vector, if it is known; the text is then not embedded.
        :param filters: Haystack filters, used as the filter policy says.
        :param top_k: how many Documents; None takes the component's.
        :returns: ``documents``, best first, with scores.
        :raises TypeError: there is neither text nor embedding, or one of another type.
        """
        check_query("CLOpenSearchRetriever", query, query_embedding)
        vector = self._embed(query) if query_embedding is None else query_embedding
        return {"documents": self.index.search(vector, **self._options(filters, top_k))}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str | None = None,
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve Documents without holding up the event loop.

        :param query: the query's text; not needed with ``query_embedding``.
        :param query_embedding: the query's vector, if it is known; the text is then not embedded.
        :param filters: Haystack filters, used as the filter policy says.
        :param top_k: how many Documents; None takes the component's.
        :returns: ``documents``, best first, with scores.
        :raises TypeError: there is neither text nor embedding, or one of another type.
        """
        check_query("CLOpenSearchRetriever", query, query_embedding)
        vector = await asyncio.to_thread(self._embed, query) if query_embedding is None else query_embedding
        return {"documents": await self.index.search_async(vector, **self._options(filters, top_k))}

    def _embed(self, query: str | None) -> list[float]:
        assert query is not None
        return list(self._encoder.encode_queries([query])[0].tolist())

    def _options(self, filters: dict[str, Any] | None, top_k: int | None) -> dict[str, Any]:
        return {
            "filters": apply_filter_policy(self.filter_policy, self.filters, filters),
            "top_k": self.top_k if top_k is None else top_k,
            "min_score": self.min_score,
            "with_embedding": self.return_embedding,
        }


def check_query(component_name: str, query: Any, query_embedding: Any) -> None:
    """Refuse anything that is no query.

    :param component_name: the component, for the message.
    :param query: text or None.
    :param query_embedding: vector or None.
    :raises TypeError: both are None, or one has another type.
    """
    if query is None and query_embedding is None:
        raise TypeError(
            f"{component_name} expects a query as text, or a query_embedding, for example from "
            "CLTextEmbedder; it got neither"
        )
    if query is not None and not isinstance(query, str):
        raise TypeError(
            f"{component_name} expects query as a string, not {type(query).__name__}; give a vector as "
            "query_embedding. To embed Documents, use CLDocumentEmbedder."
        )
    if isinstance(query_embedding, str):
        raise TypeError(f"{component_name} expects query_embedding as a list of floats; give text as query")
