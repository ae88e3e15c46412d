"""Documents nearest to a query in meaning."""

from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy
from haystack.utils import ComponentDevice

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.diversity import num_candidates
from cl_haystack.opensearch.queries import check_oversample_factor
from cl_haystack.opensearch.scores import check_min_score
from haystack_integrations.components.retrievers.cl_haystack.searcher import IndexSearcher
from haystack_integrations.components.retrievers.cl_haystack.serialization import with_index


@component
class CLOpenSearchRetriever(IndexSearcher):
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
        min_score: float | str | None = None,
        oversample_factor: float | None = None,
        diversity: float | None = None,
        candidates: int | None = None,
        return_embedding: bool = False,
        device: ComponentDevice | None = None,
    ) -> None:
        """Create the component; nothing is contacted or loaded yet.

        :param index: the index to search.
        :param filters: Haystack filters, applied inside the vector search.
        :param top_k: how many Documents.
        :param filter_policy: whether filters of a run replace these or are merged with them.
        :param min_score: search by a threshold: only what reaches this score is looked for, and the best
            ``top_k`` of it returned. A string names a threshold that the bundle was calibrated with.
        :param oversample_factor: of a quantized index, take so many times ``top_k`` candidates, 1..100, and
            rank them anew by their full vectors; None leaves it to the server.
        :param diversity: 0..1; the higher, the later come Documents like one that is already chosen (maximal
            marginal relevance). None returns the nearest.
        :param candidates: how many nearest Documents diversity chooses from; None takes ``3 * top_k``.
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
        if min_score is not None and (oversample_factor, diversity, candidates) != (None, None, None):
            raise ConfigurationError(
                "min_score searches by a threshold, oversample_factor, diversity and candidates are for a "
                "search for the nearest; give one or the other"
            )
        if min_score is not None and not isinstance(min_score, str):
            check_min_score(min_score, "innerproduct")  # of all spaces the widest; the search knows its own
        check_oversample_factor(oversample_factor)
        num_candidates(top_k, diversity, candidates)
        self.min_score = min_score
        self.oversample_factor = oversample_factor
        self.diversity = diversity
        self.candidates = candidates

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain types.

        :returns: a dictionary for a pipeline's YAML.
        """
        return default_to_dict(
            self,
            **self._init_parameters(),
            min_score=self.min_score,
            oversample_factor=self.oversample_factor,
            diversity=self.diversity,
            candidates=self.candidates,
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
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        query: str | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve Documents.

        :param query_embedding: the query's vector, if it is known; the text is then not embedded.
        :param filters: Haystack filters, used as the filter policy says.
        :param top_k: how many Documents; None takes the component's.
        :param query: the query's text; not needed with ``query_embedding``.
        :returns: ``documents``, best first, with scores.
        :raises TypeError: there is neither text nor embedding, or one of another type.
        """
        vector = self._vector(query, query_embedding)
        options = self._options(filters, top_k)
        if self.min_score is not None:
            return {"documents": self.index.radial(vector, **options)}
        return {"documents": self.index.search(vector, **options)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        query: str | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve what :meth:`run` retrieves, without holding up the event loop."""
        vector = await self._vector_async(query, query_embedding)
        options = self._options(filters, top_k)
        if self.min_score is not None:
            return {"documents": await self.index.radial_async(vector, **options)}
        return {"documents": await self.index.search_async(vector, **options)}

    def _options(self, filters: dict[str, Any] | None, top_k: int | None) -> dict[str, Any]:
        options = IndexSearcher._options(self, filters, top_k)
        if self.min_score is not None:
            return {**options, "min_score": self.min_score}
        return {
            **options,
            "oversample_factor": self.oversample_factor,
            "diversity": self.diversity,
            "candidates": self.candidates,
        }
