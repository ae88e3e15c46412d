"""What the retrievers share: an index, the encoder of its model, and the life of both."""

import asyncio
from typing import Any

from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack.utils import ComponentDevice

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.queries import check_top_k
from haystack_integrations.components.embedders.cl_haystack.component_encoder import ComponentEncoder
from haystack_integrations.components.retrievers.cl_haystack.serialization import require_index


class IndexSearcher:
    """Holds an index and this process's encoder of its model; nothing is contacted or loaded at first.

    ``@component`` makes a new class of the one it decorates, which ``super()`` does not know; so subclasses
    name this class.

    :param index: the index to search.
    :param filters: Haystack filters.
    :param top_k: how many Documents.
    :param filter_policy: whether filters of a run replace these or are merged with them.
    :param return_embedding: return the Documents' vectors too.
    :param device: where to embed; None is the CPU.
    """

    def __init__(
        self,
        index: OpenSearchIndex,
        *,
        filters: dict[str, Any] | None,
        top_k: int,
        filter_policy: str | FilterPolicy,
        return_embedding: bool,
        device: ComponentDevice | None,
    ) -> None:
        self.index = require_index(index, type(self).__name__)
        check_top_k(top_k)
        self.filters = filters
        self.top_k = top_k
        self.filter_policy = (
            filter_policy if isinstance(filter_policy, FilterPolicy) else FilterPolicy.from_str(filter_policy)
        )
        self.return_embedding = return_embedding
        self.device = device
        self._encoder = ComponentEncoder(index.bundle_path, device, index.settings.truncate_dim)

    def warm_up(self) -> None:
        """Check that the index, if it is there yet, belongs to the bundle.

        The model is loaded when the first text is to be embedded: a run may bring vectors alone.
        """
        try:
            self.index.check()
        except IndexingError:
            if self.index.exists():
                raise  # else a writer of this pipeline may be about to make it; if not, the search tells

    async def warm_up_async(self) -> None:
        """Do what :meth:`warm_up` does without holding up the event loop."""
        if self.index.check_is_due():  # a pipeline asks before every run
            await asyncio.to_thread(self.warm_up)

    def close(self) -> None:
        """Close the connection and release the model; the next run opens both again."""
        self.index.close()
        self._encoder.close()

    async def close_async(self) -> None:
        """Close the connections of this event loop and release the model."""
        await self.index.close_async()
        self._encoder.close()

    def _init_parameters(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "filters": self.filters,
            "top_k": self.top_k,
            "filter_policy": self.filter_policy.value,
            "return_embedding": self.return_embedding,
            "device": self.device,
        }

    def _options(self, filters: dict[str, Any] | None, top_k: int | None) -> dict[str, Any]:
        top_k = self.top_k if top_k is None else top_k
        check_top_k(top_k)
        return {
            "filters": apply_filter_policy(self.filter_policy, self.filters, filters),
            "top_k": top_k,
            "with_embedding": self.return_embedding,
        }

    def _vector(self, query: str | None, query_embedding: list[float] | None) -> Any:
        """Return the query's vector, embedding its text where it is not given."""
        check_query(type(self).__name__, query, query_embedding)
        return self._encoder.encode_queries([query or ""])[0] if query_embedding is None else query_embedding

    async def _vector_async(self, query: str | None, query_embedding: list[float] | None) -> Any:
        """Return what :meth:`_vector` returns, without holding up the event loop."""
        check_query(type(self).__name__, query, query_embedding)
        return (
            await self._encoder.encode_query_async(query or "")
            if query_embedding is None
            else query_embedding
        )


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
