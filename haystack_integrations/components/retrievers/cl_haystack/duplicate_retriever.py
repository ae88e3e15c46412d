"""Documents that say the same: as a given one, or among all of an index."""

import asyncio
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy
from haystack.utils import ComponentDevice

from cl_haystack.errors import IndexingError, quote
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.scores import DUPLICATE, check_number
from haystack_integrations.components.retrievers.cl_haystack.searcher import IndexSearcher, check_query
from haystack_integrations.components.retrievers.cl_haystack.serialization import with_index


@component
class CLOpenSearchDuplicateRetriever(IndexSearcher):
    """Retrieves near-duplicates: Documents at least as similar as a threshold.

    Of one Document, given by its id, its text or its embedding; without any of them, of all Documents of the
    index, in groups. To search for what answers a query, use CLOpenSearchRetriever.
    """

    def __init__(
        self,
        index: OpenSearchIndex,
        *,
        threshold: float | str = DUPLICATE,
        filters: dict[str, Any] | None = None,
        top_k: int = 100,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        return_embedding: bool = False,
        device: ComponentDevice | None = None,
    ) -> None:
        """Create the component; nothing is contacted or loaded yet.

        :param index: the index to search.
        :param threshold: least similarity of two duplicates (the model's: cosine or dot product), or the name
            of a threshold that the bundle was calibrated with. There is no number that suits every model.
        :param filters: Haystack filters: look among these Documents alone.
        :param top_k: how many near-duplicates of one Document; how many groups of an index, the largest.
        :param filter_policy: whether filters of a run replace these or are merged with them.
        :param return_embedding: return the Documents' vectors too.
        :param device: where to embed texts; by default the CPU.
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
        if not isinstance(threshold, str):
            check_number("threshold", threshold)
        self.threshold = threshold

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain types.

        :returns: a dictionary for a pipeline's YAML.
        """
        return default_to_dict(self, **self._init_parameters(), threshold=self.threshold)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CLOpenSearchDuplicateRetriever":
        """Return the component from what :meth:`to_dict` wrote.

        :param data: the dictionary.
        :returns: the component.
        """
        return default_from_dict(cls, with_index(data))

    @component.output_types(documents=list[Document], groups=list[list[Document]])
    def run(
        self,
        query: str | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        query_embedding: list[float] | None = None,
        document_id: str | None = None,
    ) -> dict[str, Any]:
        """Retrieve near-duplicates.

        :param query: a Document's text, embedded as a Document is.
        :param filters: Haystack filters, used as the filter policy says.
        :param top_k: how many; None takes the component's.
        :param query_embedding: a Document's vector.
        :param document_id: a Document of the index; it is not among its own duplicates.
        :returns: ``groups``, a list of Documents for each group, and ``documents``, all of them in one list.
            Of one Document there is one group, its duplicates, most similar first, with scores; or none.
        :raises TypeError: more than one of text, embedding and id are given, or one of another type.
        :raises IndexingError: there is no Document of that id, or it has no vector.
        """
        given = [value for value in (query, query_embedding, document_id) if value is not None]
        if len(given) > 1:
            raise TypeError(
                "CLOpenSearchDuplicateRetriever expects one of query, query_embedding and document_id, not "
                f"{len(given)} of them; to embed a Document, use CLDocumentEmbedder"
            )
        options = self._options(filters, top_k)
        groups = (
            self._duplicates_of(query, query_embedding, document_id, options) if given else self._all(options)
        )
        return {"documents": [document for group in groups for document in group], "groups": groups}

    @component.output_types(documents=list[Document], groups=list[list[Document]])
    async def run_async(
        self,
        query: str | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        query_embedding: list[float] | None = None,
        document_id: str | None = None,
    ) -> dict[str, Any]:
        """Retrieve what :meth:`run` retrieves, in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.run, query, filters, top_k, query_embedding, document_id)

    def _duplicates_of(
        self,
        query: str | None,
        query_embedding: list[float] | None,
        document_id: str | None,
        options: dict[str, Any],
    ) -> list[list[Document]]:
        if document_id is None:
            check_query("CLOpenSearchDuplicateRetriever", query, query_embedding)
        vector: Any = query_embedding
        if query is not None:
            vector = self._encoder.encode_documents([query])[0]
        elif document_id is not None:
            vector = self._vector_of(document_id)
        found = self.index.duplicates_of(vector, self.threshold, exclude_id=document_id, **options)
        return [found] if found else []

    def _vector_of(self, document_id: str) -> list[float]:
        if not isinstance(document_id, str):
            raise TypeError(
                "CLOpenSearchDuplicateRetriever expects document_id as a string, not "
                f"{type(document_id).__name__}; to write Documents, use CLOpenSearchWriter"
            )
        found = self.index.get_documents([document_id], with_embedding=True)
        if found and found[0].embedding is not None:
            return found[0].embedding
        problem = "has no vector" if found else "does not exist"
        raise IndexingError(
            f"document {quote(document_id)} {problem} in index '{self.index.name}'; give its text as query"
        )

    def _all(self, options: dict[str, Any]) -> list[list[Document]]:
        groups = self.index.duplicates(self.threshold, filters=options["filters"])[: options["top_k"]]
        return [self.index.get_documents(group.ids, with_embedding=self.return_embedding) for group in groups]
