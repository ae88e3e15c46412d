"""Documents and records of any index: all of them as they were at one point in time, or some by id.

All of them come by sequence number, in pages of a bounded size. Numbers count within a shard, so several
documents may share one: a page begins with the number that the page before it ended with, and leaves out what
was there already. Should the server forget its point in time (a node was restarted, the reader was busy for
half an hour), reading goes on from the same number at a new one: what was written since comes in its new
form, and nothing is left out.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import orjson
from haystack import Document
from opensearchpy.exceptions import OpenSearchException, TransportError

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.content_hash import HASH_FIELD
from cl_haystack.opensearch.documents import WITHOUT_VECTOR, StoredDocument
from cl_haystack.opensearch.failures import opensearch_errors, status_of
from cl_haystack.opensearch.mapping import EMBEDDING_FIELD
from cl_haystack.opensearch.names import existing_mappings
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience

logger = logging.getLogger(__name__)

_FETCHED_AT_ONCE = 1000
FIRST_PAGE = 50  # its documents may be of any size; that of later pages follows from theirs
_PAGE_BYTES = 4_000_000
_KEEP_ALIVE = "30m"


def read_documents(connection: Connection, index: str, *, with_embedding: bool = False) -> Iterator[Document]:
    """Read all documents of an index, ours or any other, such as the input of an indexing job.

    Written to another index, their fields are what they were, whether Haystack knows them or not.

    :param connection: the server.
    :param index: name of the index or alias.
    :param with_embedding: with their vectors, which a job then keeps: of the very model that it writes for,
        see :func:`~cl_haystack.opensearch.adoption.verify_vectors`.
    :returns: the documents as they were at the first request, those written last at the end.
    :raises IndexingError: there is no such index, it does not keep whole documents, or reading it failed.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    for name, mapping in existing_mappings(connection, index).items():
        check_source(name, mapping, with_embedding=with_embedding)
    source = {"excludes": [HASH_FIELD]} if with_embedding else WITHOUT_VECTOR
    return map(StoredDocument, _hits(connection, index, source))


def read_records(connection: Connection, index: str) -> Iterator[dict[str, Any]]:
    """Read all records of an index, as they were at the first request, those written last at the end.

    :param connection: the server.
    :param index: name of the index or alias.
    :yields: the source of each record.
    :raises IndexingError: there is no such index, or reading it failed.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    for hit in _hits(connection, index, source=True):
        yield hit["_source"]


def count_records(connection: Connection, index: str) -> int:
    """Return how many documents of an index a search can see.

    :param connection: the server.
    :param index: name of the index or alias.
    :returns: the number.
    :raises IndexingError: there is no such index.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    with opensearch_errors(connection.url, index):
        return int(connection.client().count(index=index)["count"])


def read_texts(
    connection: Connection, index: str, ids: Iterable[str], *, field: str = "content"
) -> dict[str, str]:
    """Read one field of some documents.

    :param connection: the server.
    :param index: name of the index or alias.
    :param ids: ids of the documents.
    :param field: name of the field that holds the text.
    :returns: text by id; ids that the index lacks are left out.
    :raises IndexingError: there is no such index, or reading it failed.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    texts: dict[str, str] = {}
    rest = iter(sorted(ids))
    while some := list(islice(rest, _FETCHED_AT_ONCE)):
        with opensearch_errors(connection.url, index):
            answer = connection.client().mget(body={"ids": some}, index=index, params={"_source": field})
        for document in answer["docs"]:
            if "error" in document:
                raise IndexingError(f"index '{index}' cannot be read: {document['error']['reason']}")
            value = document.get("_source", {}).get(field)
            if isinstance(value, str):
                texts[document["_id"]] = value
    return texts


def check_source(index: str, mapping: dict[str, Any], *, with_embedding: bool = False) -> None:
    """Refuse an index that does not keep its documents as they came.

    :param index: its name.
    :param mapping: its mapping.
    :param with_embedding: whether the vectors are needed, too.
    :raises IndexingError: its mapping leaves out fields of ``_source``.
    """
    source = mapping.get("_source", {})
    lost = set(source.get("excludes", [])) - (set() if with_embedding else {EMBEDDING_FIELD})
    if source.get("enabled", True) is False or source.get("includes") or lost:
        what = f"the fields {', '.join(sorted(lost))}" if lost else "fields"
        raise IndexingError(
            f"index '{index}' does not keep {what} in _source, so its documents cannot be read whole and "
            "embedded again; index them from where they came from, into a new index"
        )


def next_page_size(page: list[dict[str, Any]], size: int, largest: int) -> int:
    """Return how many documents to ask for next, so that a page has about the same bytes whatever they hold.

    :param page: the page that was read; not empty.
    :param size: how many it was asked for.
    :param largest: most documents of a page.
    :returns: the number.
    """
    average = len(orjson.dumps(page)) // len(page)
    return max(1, min(4 * size, largest, _PAGE_BYTES // max(1, average)))


def _hits(connection: Connection, index: str, source: Any) -> Iterator[dict[str, Any]]:
    point = _PointInTime(connection, index)
    try:
        last, seen, size = 0, set[tuple[Any, ...]](), FIRST_PAGE
        while True:
            asked = size + len(seen)
            page = point.page(last, asked, source)
            for hit in page:
                if (key := _key(hit)) not in seen:
                    yield hit
                number = hit["sort"][0]
                seen = {*seen, key} if number == last else {key}
                last = number
            if len(page) < asked:
                return
            size = next_page_size(page, size, _FETCHED_AT_ONCE)
    finally:
        point.close()


def _key(hit: dict[str, Any]) -> tuple[Any, ...]:
    return hit["_index"], hit["_id"], hit.get("_routing")


class _PointInTime:
    """What an index held at one moment, in pages by sequence number."""

    def __init__(self, connection: Connection, index: str) -> None:
        self._client: Any = connection.client()
        self._url = connection.url
        self._index = index
        self._patience = Patience(DEFAULT_RETRY_FOR_S, threading.Event())
        self._refresh()
        self._id: str = self._patience(self._open)

    def page(self, first: int, size: int, source: Any) -> list[dict[str, Any]]:
        """Return the next hits, from a sequence number on.

        :param first: the lowest number.
        :param size: most hits; fewer are the last ones.
        :param source: which fields of the documents.
        :returns: hits with ``sort``, which holds their number.
        """
        body = {
            "size": size,
            "sort": [{"_seq_no": "asc"}],
            "search_after": [first - 1],
            "track_total_hits": False,
            "_source": source,
        }
        try:
            return self._patience(partial(self._search, body))
        except IndexingError as error:
            if not _is_forgotten(error.__cause__):
                raise
        logger.warning("index '%s': its point in time is gone; reading goes on at a new one", self._index)
        self._id = self._patience(self._open)
        return self._patience(partial(self._search, body))

    def close(self) -> None:
        """Let the server forget it; it would by itself after a while."""
        try:
            self._client.delete_pit(body={"pit_id": [self._id]})
        except OpenSearchException:
            logger.debug("index '%s': its point in time was not closed", self._index, exc_info=True)

    def _refresh(self) -> None:
        """Let the point in time hold all that was written, as far as one may ask for that."""

        def refresh() -> None:
            with opensearch_errors(self._url, self._index):
                self._client.indices.refresh(index=self._index)

        try:
            self._patience.first_request(refresh)
        except IndexingError as error:
            logger.debug("index '%s' was not refreshed: %s", self._index, error)

    def _open(self) -> str:
        with opensearch_errors(self._url, self._index):
            params = {"keep_alive": _KEEP_ALIVE, "allow_partial_pit_creation": "false"}
            return str(self._client.create_pit(index=self._index, params=params)["pit_id"])

    def _search(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        point = {"id": self._id, "keep_alive": _KEEP_ALIVE}
        params = {"allow_partial_search_results": "false"}
        with opensearch_errors(self._url, self._index):
            answer = self._client.search(body={**body, "pit": point}, params=params)
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits


def _is_forgotten(error: BaseException | None) -> bool:
    return isinstance(error, TransportError) and (
        status_of(error) == 404 or "search_context_missing" in str(error.info)
    )
