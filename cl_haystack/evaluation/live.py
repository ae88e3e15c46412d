"""Search functions over a live index, for evaluation and for mining."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from cl_haystack.encoder.protocol import Search, TextEncoder

Mode = Literal["dense", "bm25", "hybrid"]


class Hit(Protocol):
    """One document found; Haystack's ``Document`` is one."""

    id: str
    score: float | None


class SearchableIndex(Protocol):
    """What is needed of an index; ``OpenSearchIndex`` has it."""

    def search_many(
        self,
        *,
        queries: Sequence[str] | None = None,
        query_embeddings: Any = None,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        with_content: bool = True,
    ) -> Sequence[Sequence[Hit]]:
        """Search for many queries: by vectors, by texts, or by both."""
        ...


def index_search(
    index: SearchableIndex, encoder: TextEncoder, mode: Mode, *, filters: dict[str, Any] | None = None
) -> Search:
    """Return a function that encodes queries and searches an index for them.

    :param index: the index.
    :param encoder: the model it was built with; not used for ``bm25``.
    :param mode: by vectors, by words, or by both.
    :param filters: Haystack filters that every search gets.
    :returns: ``search(queries, top_k)``, ids and scores alone.
    """

    def search(queries: list[str], top_k: int) -> list[list[tuple[str, float]]]:
        asked: dict[str, Any] = {}
        if mode != "dense":
            asked["queries"] = queries
        if mode != "bm25":
            asked["query_embeddings"] = encoder.encode_queries(queries)
        answers = index.search_many(**asked, top_k=top_k, filters=filters, with_content=False)
        return [[(hit.id, hit.score or 0.0) for hit in hits] for hits in answers]

    return search
