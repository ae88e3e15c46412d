"""Near-duplicates across a whole index: which documents say the same, in groups.

Every document asks the index for the documents that are at least as similar as the threshold; whoever is
found is in one group with it, and so are the duplicates of duplicates (connected components). Documents are
read page by page, and of each only its vector; what is kept are the ids that have a duplicate.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from opensearchpy.helpers import scan

from cl_haystack.opensearch.mapping import EMBEDDING_FIELD
from cl_haystack.progress import OnProgress, Progress

_PAGE = 64  # documents that are read, and then ask, at a time
# Neighbours of one document that are looked at. More than so many near-copies hang together all the same:
# each of them finds others of the group.
MAX_DUPLICATES = 100
_SCROLL = "10m"  # as long as a page of them may take

Neighbours = Callable[[Sequence[list[float]]], Sequence[Sequence[tuple[str, float]]]]
"""``neighbours(vectors)``: ids and similarities of what is near enough to each, itself among it."""


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Documents of which each is a near-duplicate of another one in the group.

    :param ids: sorted.
    :param lowest_similarity: of two documents that were found to be duplicates: the weakest link.
    """

    ids: tuple[str, ...]
    lowest_similarity: float


def with_vector(wanted: dict[str, Any] | None) -> dict[str, Any]:
    """Return the query for documents that have a vector.

    :param wanted: OpenSearch's query that they must match too, or None.
    :returns: a query.
    """
    clauses = [{"exists": {"field": EMBEDDING_FIELD}}, *([wanted] if wanted else [])]
    return {"bool": {"filter": clauses}}


def read_vectors(client: Any, index: str, query: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the id and vector of every document that matches, as they were when the reading began.

    :param client: an opensearch-py client.
    :param index: name of an index or alias.
    :param query: what :func:`with_vector` returned.
    :yields: id and vector.
    """
    body = {"query": query, "_source": [EMBEDDING_FIELD]}
    for hit in scan(client, query=body, index=index, size=_PAGE, scroll=_SCROLL):
        yield hit["_id"], hit["_source"][EMBEDDING_FIELD]


def group_duplicates(
    vectors: Iterable[tuple[str, list[float]]],
    neighbours: Neighbours,
    *,
    total: int,
    on_progress: OnProgress,
) -> list[DuplicateGroup]:
    """Return the groups of near-duplicates.

    :param vectors: id and vector of each document.
    :param neighbours: finds what is near enough.
    :param total: number of documents, for the progress.
    :param on_progress: told after every page.
    :returns: the largest group first; equally large ones by their first id.
    """
    groups = _Groups()
    done, source = 0, iter(vectors)
    while page := list(islice(source, _PAGE)):
        found = neighbours([vector for _, vector in page])
        for (document_id, _), near in zip(page, found, strict=True):
            for other, similarity in near:
                if other != document_id:
                    groups.join(document_id, other, similarity)
        done += len(page)
        on_progress(Progress(done, total, note=f"{groups.size:,} documents have duplicates"))
    return groups.listed()


class _Groups:
    """Connected components (union-find with path halving) over the ids that were joined."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._lowest: dict[str, float] = {}  # by root

    @property
    def size(self) -> int:
        return len(self._parent)

    def join(self, one: str, other: str, similarity: float) -> None:
        first, second = self._root(one), self._root(other)
        self._parent[second] = first
        lowest = min(similarity, self._lowest.get(first, similarity), self._lowest.pop(second, similarity))
        self._lowest[first] = lowest

    def listed(self) -> list[DuplicateGroup]:
        members: dict[str, list[str]] = {}
        for document_id in self._parent:
            members.setdefault(self._root(document_id), []).append(document_id)
        groups = [DuplicateGroup(tuple(sorted(ids)), self._lowest[root]) for root, ids in members.items()]
        return sorted(groups, key=lambda group: (-len(group.ids), group.ids))

    def _root(self, document_id: str) -> str:
        parent = self._parent
        parent.setdefault(document_id, document_id)
        while parent[document_id] != document_id:
            parent[document_id] = parent[parent[document_id]]
            document_id = parent[document_id]
        return document_id
