"""What has changed in an index since one looked last, without a change feed.

Every write to a shard gets the next sequence number, and a document carries that of its last one. Below the
shard's *global checkpoint* every number is settled: its write is on all copies and can never be undone. So
whoever has read all documents up to a checkpoint finds whatever was written later above it. A page of numbers
needs no scroll and no point in time, so nothing expires in hours of embedding or when a node is restarted: a
document that is written again meanwhile only moves up, to be seen there. Deleted documents leave no trace
that a search could see; they are found by asking for ids.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.documents import WITHOUT_VECTOR
from cl_haystack.opensearch.failures import for_now, opensearch_errors
from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.records import FIRST_PAGE, next_page_size

Checkpoints = Mapping[int, int]
"""Sequence number by shard; a shard that is not named is at -1, before its first write."""

_PAGE_DOCUMENTS = 500  # read at a time, with their text, unless they are large
PAGE_IDS = 5_000
# A page looks at no more numbers than this, so that its cost does not grow with the index behind it.
_PAGE_NUMBERS = 20_000


class ChangeReader:
    """Reads documents, or their ids alone, by sequence number. Reads primary shards only.

    :param connection: the server.
    :param index: a concrete index.
    :param patience: repeats requests.
    """

    def __init__(self, connection: Connection, index: str, patience: Patience) -> None:
        self._client: Any = connection.client()
        self._url = connection.url
        self._index = index
        self._patience = patience

    def checkpoints(self) -> dict[int, int]:
        """Return the global checkpoint of each shard, and make what lies below visible to searches.

        :returns: sequence number by shard, -1 for a shard without writes.
        :raises ServerUnavailableError: a shard has no primary.
        """
        found = self._patience(self._ask_checkpoints)
        self._patience(self._refresh)
        return found

    def documents(self, after: Checkpoints, up_to: Checkpoints) -> Iterator[dict[str, Any]]:
        """Read the documents that were written last between two checkpoints, without their vectors.

        :param after: exclusive.
        :param up_to: inclusive; names all shards.
        :yields: hits with ``_id``, ``_source``, ``_seq_no`` and, where there is one, ``_routing``.
        """
        for page in self.pages(after, up_to):
            yield from page

    def pages(self, after: Checkpoints, up_to: Checkpoints) -> Iterator[list[dict[str, Any]]]:
        """Read what :meth:`documents` reads, in pages of about the same bytes, whatever the documents hold.

        :param after: exclusive.
        :param up_to: inclusive; names all shards.
        :yields: hits; at least one.
        """
        for shard, last in sorted(up_to.items()):
            position, size = after.get(shard, -1), FIRST_PAGE
            while position < last:
                page, position = self._next_page(shard, position, last, size, WITHOUT_VECTOR)
                if page:
                    yield page
                    size = next_page_size(page, size, _PAGE_DOCUMENTS)

    def ids(self, after: Checkpoints, up_to: Checkpoints) -> Iterator[dict[str, Any]]:
        """Read what :meth:`documents` reads, without ``_source``."""
        for shard, last in sorted(up_to.items()):
            position = after.get(shard, -1)
            while position < last:
                page, position = self._next_page(shard, position, last, PAGE_IDS, source=False)
                yield from page

    def sample(self, up_to: Checkpoints, size: int) -> list[dict[str, Any]]:
        """Draw documents at random, without their vectors, from those that :meth:`documents` reads.

        :param up_to: inclusive; names all shards.
        :param size: how many, about the same number from each shard.
        :returns: hits; fewer where there are not so many.
        """
        each = -(-size // max(1, len(up_to)))
        drawn: list[dict[str, Any]] = []
        for shard, last in up_to.items():
            query = {
                "function_score": {
                    "query": {"range": {"_seq_no": {"lte": last}}},
                    "random_score": {"seed": shard, "field": "_seq_no"},
                    "boost_mode": "replace",
                }
            }
            body = {"query": query, "size": each, "_source": WITHOUT_VECTOR}
            drawn += self._patience(partial(self._search, shard, body))
        return drawn

    def count(self, query: dict[str, Any] | None = None) -> int:
        """Return the number of documents now; everything written is counted."""
        return sum(self.counts(query, shards=[None]).values())

    def counts(
        self, query: dict[str, Any] | None = None, *, shards: Iterable[int | None]
    ) -> dict[int | None, int]:
        """Return the number of documents in each of some shards; None stands for all of them together."""
        self._patience(self._refresh)
        body = {"query": query or {"match_all": {}}}

        def ask(shard: int | None) -> int:
            with opensearch_errors(self._url, self._index):
                answer = self._client.count(index=self._index, body=body, params=_primary(shard))
            _refuse_partial(answer, self._url, self._index)
            return int(answer["count"])

        return {shard: self._patience(partial(ask, shard)) for shard in shards}

    def find(self, hits: Sequence[Mapping[str, Any]], *, source: Any = False) -> list[dict[str, Any]]:
        """Look documents up by id and routing, even before a refresh.

        :param hits: with ``_id`` and, where there is one, ``_routing``.
        :param source: which fields to return.
        :returns: the server's answer for each: ``found`` and, if so, ``_source``.
        """
        if not hits:
            return []
        asked = [
            {"_id": hit["_id"], "_source": source}
            | ({"routing": hit["_routing"]} if "_routing" in hit else {})
            for hit in hits
        ]

        def ask() -> list[dict[str, Any]]:
            with opensearch_errors(self._url, self._index):
                answers = self._client.mget(body={"docs": asked}, index=self._index)["docs"]
            if any("error" in answer for answer in answers):
                raise for_now(self._url, f"some shards of index '{self._index}' did not answer")
            return list(answers)

        return self._patience(ask)

    def _ask_checkpoints(self) -> dict[int, int]:
        with opensearch_errors(self._url, self._index):
            params = {
                "level": "shards",
                "filter_path": "indices.*.shards.*.seq_no,indices.*.shards.*.routing.primary",
            }
            stats = self._client.indices.stats(index=self._index, metric="docs", params=params)
            settings = self._client.indices.get_settings(index=self._index, params={"flat_settings": "true"})
        shards = stats.get("indices", {}).get(self._index, {}).get("shards", {})
        found = {
            int(number): int(copy["seq_no"]["global_checkpoint"])
            for number, copies in shards.items()
            for copy in copies
            if copy["routing"]["primary"]
        }
        num_shards = int(settings[self._index]["settings"]["index.number_of_shards"])
        if len(found) != num_shards:
            raise for_now(
                self._url, f"{num_shards - len(found)} shards of index '{self._index}' have no primary"
            )
        return found

    def _refresh(self) -> None:
        with opensearch_errors(self._url, self._index):
            answer = self._client.indices.refresh(index=self._index)
        _refuse_partial(answer, self._url, self._index)

    def _next_page(
        self, shard: int, position: int, last: int, size: int, source: Any
    ) -> tuple[list[dict[str, Any]], int]:
        """Return the hits after a sequence number, and the number up to which all have been read then."""
        end = min(position + _PAGE_NUMBERS, last)
        page = self._patience(partial(self._page, shard, position, end, size, source))
        return page, page[-1]["_seq_no"] if len(page) == size else end

    def _page(self, shard: int, after: int, up_to: int, size: int, source: Any) -> list[dict[str, Any]]:
        body = {
            "query": {"range": {"_seq_no": {"gt": after, "lte": up_to}}},
            "sort": [{"_seq_no": "asc"}],
            "size": size,
            "seq_no_primary_term": True,
            "track_total_hits": False,
            "_source": source,
        }
        return self._search(shard, body)

    def _search(self, shard: int, body: dict[str, Any]) -> list[dict[str, Any]]:
        params = {**_primary(shard), "allow_partial_search_results": "false"}
        with opensearch_errors(self._url, self._index):
            answer = self._client.search(index=self._index, body=body, params=params)
        if answer.get("timed_out"):
            raise for_now(self._url, f"did not search index '{self._index}' in time")
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits


def _primary(shard: int | None) -> dict[str, str]:
    return {"preference": "_primary" if shard is None else f"_shards:{shard}|_primary"}


def _refuse_partial(answer: dict[str, Any], url: str, index: str) -> None:
    if answer.get("_shards", {}).get("failed"):
        raise for_now(url, f"some shards of index '{index}' did not answer")
