"""Near-duplicates across a whole index: which documents say the same, in groups.

Every document asks the index for the documents that are at least as similar as the threshold; whoever is
found is in one group with it, and so are the duplicates of duplicates (connected components). Documents are
read page by page, and of each only its vector; what is kept are the ids that have a duplicate.

An answer holds the nearest hundred. Where it is full, the document asks again for what is not yet in its
group, until nothing is left, so a text that was copied a thousand times is one group with what is like it.

To leave out a group, its ids are sent; if each of a crowd did that, their number would be the square of its
size. From a thousand ids on, a document stays unfinished instead. A link that was not found is then one
between two unfinished documents, which have their vectors compared in the end, where their groups differ.

So does a document that its own search does not find, unless the answer is full of others. In the graphs of
OpenSearch 2.19 a crowd of copies can be out of reach as a whole, because copies fill the lists of their
neighbours with each other; 3.6 has not shown that.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy.helpers import scan

from cl_haystack.opensearch.mapping import EMBEDDING_FIELD
from cl_haystack.opensearch.queries import Vector
from cl_haystack.progress import OnProgress, Progress

MAX_DUPLICATES = 100  # near-duplicates in one answer
_PAGE = 64  # documents that are read, and then ask, at a time
_SCROLL = "10m"  # as long as a page of them may take
_MAX_LEFT_OUT = 1_000  # ids that a document sends to ask for others
_BLOCK = 64  # unfinished documents that are compared with all at a time
_ROUNDING = 1e-4  # between a similarity computed here and there
_MAX_TERMS = 65_536  # values of one filter (OpenSearch's index.max_terms_count)

Page = list[tuple[str, Vector]]
Neighbours = Callable[[Sequence[Vector], Sequence[Collection[str]]], Sequence[Sequence[tuple[str, float]]]]
"""``neighbours(vectors, known)``: ids and similarities of the ``MAX_DUPLICATES`` nearest of what is near
enough to each vector and not among the ids known to it; itself may be among them."""


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


def outside(ids: Collection[str], filters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return Haystack filters that leave out documents by their ids.

    :param ids: of any number; none changes nothing.
    :param filters: what must match besides, or None.
    :returns: Haystack filters, or None.
    """
    if not ids:
        return filters
    listed = list(ids)
    others = [
        {"field": "_id", "operator": "not in", "value": listed[start : start + _MAX_TERMS]}
        for start in range(0, len(listed), _MAX_TERMS)
    ]
    return {"operator": "AND", "conditions": [*([filters] if filters else []), *others]}


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
    vectors: Iterable[tuple[str, Vector]],
    neighbours: Neighbours,
    *,
    rows: Callable[[Sequence[Vector]], NDArray[np.float32]],
    threshold: float,
    total: int,
    on_progress: OnProgress,
) -> list[DuplicateGroup]:
    """Return the groups of near-duplicates.

    :param vectors: id and vector of each document.
    :param neighbours: finds what is near enough.
    :param rows: makes rows of vectors whose products are their similarities.
    :param threshold: least similarity that is near enough.
    :param total: number of documents, for the progress.
    :param on_progress: told after every page.
    :returns: the largest group first; equally large ones by their first id.
    """
    groups = _Groups()
    asked_on: set[bytes] = set()  # vectors that need not ask again; copies of them are in their groups
    unfinished: Page = []
    done, source = 0, iter(vectors)
    while page := list(islice(source, _PAGE)):
        asking = [entry for entry in page if entry[0] not in groups or _digest(entry[1]) not in asked_on]
        found = _ask(asking, [()] * len(asking), neighbours, groups)
        unfinished += _out_of_reach(asking, found, rows, threshold)
        distinct = {_digest(vector): (document_id, vector) for document_id, vector in _full(asking, found)}
        unfinished += _ask_on(list(distinct.values()), neighbours, groups)
        asked_on |= distinct.keys()
        done += len(page)
        on_progress(Progress(done, total, note=f"{groups.size:,} documents have duplicates"))
    ids = [document_id for document_id, _ in unfinished]
    _join_unfinished(ids, rows([vector for _, vector in unfinished]), threshold, groups)
    return groups.listed()


def _full(page: Page, found: Sequence[Collection[str]]) -> Page:
    """Return the documents of which there may be more neighbours than an answer holds."""
    return [entry for entry, near in zip(page, found, strict=True) if len(near) == MAX_DUPLICATES]


def _out_of_reach(
    page: Page,
    found: Sequence[Collection[str]],
    rows: Callable[[Sequence[Vector]], NDArray[np.float32]],
    threshold: float,
) -> Page:
    """Return the documents that should have found themselves and did not, though there was room."""
    missed = [
        entry
        for entry, near in zip(page, found, strict=True)
        if len(near) < MAX_DUPLICATES and entry[0] not in near
    ]
    if not missed:
        return []
    vectors = rows([vector for _, vector in missed])  # (missed, dim)
    near_itself = (vectors * vectors).sum(axis=1) > threshold + _ROUNDING
    return [(missed[row][0], np.asarray(missed[row][1], np.float32)) for row in np.flatnonzero(near_itself)]


def _ask_on(crowded: Page, neighbours: Neighbours, groups: "_Groups") -> Page:
    """Let documents ask for what is not yet in their groups; return those whose groups are too large."""
    unfinished: Page = []
    while crowded:
        asking: Page = []
        for document_id, vector in crowded:
            if len(groups.of(document_id)) <= _MAX_LEFT_OUT:
                asking.append((document_id, vector))
            else:
                unfinished.append((document_id, np.asarray(vector, dtype=np.float32)))
        known = [groups.of(document_id) for document_id, _ in asking]
        found = _ask(asking, known, neighbours, groups)
        crowded = _full(asking, found)
    return unfinished


def _join_unfinished(
    ids: Sequence[str], vectors: NDArray[np.float32], threshold: float, groups: "_Groups"
) -> None:
    """Join documents of different groups that are similar enough, by comparing all with all."""
    group_of = groups.numbers(ids)  # (unfinished,)
    for start in range(0, len(ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        if (group_of == group_of[0]).all():
            return
        similarity = vectors[block] @ vectors[start:].T  # (block, unfinished - start)
        links = np.argwhere((similarity >= threshold) & (group_of[block, np.newaxis] != group_of[start:]))
        for row, other in links:
            groups.join(ids[start + row], ids[start + other], float(similarity[row, other]))
        if len(links):
            group_of = groups.numbers(ids)


def _ask(
    page: Page, known: Sequence[Collection[str]], neighbours: Neighbours, groups: "_Groups"
) -> list[set[str]]:
    """Join documents with their neighbours, and return the ids that each has found."""
    if not page:
        return []
    found = neighbours([vector for _, vector in page], known)
    for (document_id, _), near in zip(page, found, strict=True):
        for other, similarity in near:
            if other != document_id:
                groups.join(document_id, other, similarity)
    return [{other for other, _ in near} for near in found]


def _digest(vector: Vector) -> bytes:
    return hashlib.blake2b(np.asarray(vector, dtype=np.float32).tobytes(), digest_size=16).digest()


@dataclass(slots=True)
class _Group:
    ids: set[str]
    lowest: float = field(default=np.inf)


class _Groups:
    """Connected components of the ids that were joined; the smaller of two groups goes into the larger."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}  # by the id of each member

    @property
    def size(self) -> int:
        return len(self._groups)

    def __contains__(self, document_id: str) -> bool:
        return document_id in self._groups

    def of(self, document_id: str) -> Collection[str]:
        return self._groups[document_id].ids

    def numbers(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return a number for each id, the same within a group."""
        return np.array([id(self._group(document_id)) for document_id in ids], dtype=np.int64)

    def join(self, one: str, other: str, similarity: float) -> None:
        smaller, larger = sorted(map(self._group, (one, other)), key=lambda group: len(group.ids))
        larger.lowest = min(similarity, larger.lowest, smaller.lowest)
        if smaller is not larger:
            larger.ids |= smaller.ids
            self._groups.update(dict.fromkeys(smaller.ids, larger))

    def listed(self) -> list[DuplicateGroup]:
        distinct = {id(group): group for group in self._groups.values()}.values()
        groups = [
            DuplicateGroup(tuple(sorted(group.ids)), group.lowest) for group in distinct if len(group.ids) > 1
        ]
        return sorted(groups, key=lambda group: (-len(group.ids), group.ids))

    def _group(self, document_id: str) -> _Group:
        if document_id not in self._groups:
            self._groups[document_id] = _Group({document_id})
        return self._groups[document_id]
