"""How searches reach the server and come back: one or many, from a thread or an event loop.

Every answer is watched: one from an index that was not checked yet is checked before it is returned.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from haystack import Document

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.bound_index import BoundIndex
from cl_haystack.opensearch.capabilities import ServerCapabilities
from cl_haystack.opensearch.connection import OrjsonSerializer
from cl_haystack.opensearch.failures import opensearch_errors, reason_in
from cl_haystack.opensearch.fusion import check_weighted_rrf
from cl_haystack.opensearch.search_request import Hits, SearchRequest

logger = logging.getLogger(__name__)

_MSEARCH_BATCH = 32
_SERIALIZER = OrjsonSerializer()


class AskableIndex(BoundIndex):
    """A bound index that takes search requests; the constructor is that of :class:`BoundIndex`."""

    def _check_server(self, requests: Sequence[SearchRequest]) -> None:
        """Refuse what this server cannot do, before it is asked."""
        if any(request.weighs_ranks for request in requests):
            check_weighted_rrf(self._capabilities.version, self.connection.url)

    @cached_property
    def _capabilities(self) -> ServerCapabilities:
        return ServerCapabilities.ask(self._client, self.connection.url)

    async def _check_async(self) -> None:
        if self.check_is_due():
            await asyncio.to_thread(self.check)

    def _run(self, request: SearchRequest) -> list[Document]:
        self._check_server([request])
        with opensearch_errors(self.connection.url, self.name):
            hits = self._hits(self._client.search(index=self.name, body=request.body))
        self.check_answer(hit["_index"] for hit in hits)
        return request.read(hits)

    async def _run_async(self, request: SearchRequest) -> list[Document]:
        client = self.connection.async_client()
        if client is None:
            return await asyncio.to_thread(self._run, request)
        if request.weighs_ranks:
            await asyncio.to_thread(self._check_server, [request])
        with opensearch_errors(self.connection.url, self.name):
            hits = self._hits(await client.search(index=self.name, body=request.body))
        await self._check_answer_async(hits)
        return request.read(hits)

    async def _check_answer_async(self, hits: Hits) -> None:
        if not self._checked.issuperset(hit["_index"] for hit in hits):
            await asyncio.to_thread(self.check, fresh=True)

    def _run_many(self, requests: Sequence[SearchRequest]) -> list[list[Document]]:
        self._check_server(requests)
        results: list[list[Document]] = []
        for batch, body in self._batches(requests):
            with opensearch_errors(self.connection.url, self.name):
                answer = self._client.msearch(body=body)
            hits = self._hits_of_many(answer)
            self.check_answer(hit["_index"] for entry in hits for hit in entry)
            results += [request.read(entry) for request, entry in zip(batch, hits, strict=True)]
        return results

    async def _run_many_async(self, requests: Sequence[SearchRequest]) -> list[list[Document]]:
        client = self.connection.async_client()
        if client is None:
            return await asyncio.to_thread(self._run_many, requests)
        if any(request.weighs_ranks for request in requests):
            await asyncio.to_thread(self._check_server, requests)
        results: list[list[Document]] = []
        for batch, body in self._batches(requests):
            with opensearch_errors(self.connection.url, self.name):
                answer = await client.msearch(body=body)
            hits = self._hits_of_many(answer)
            await self._check_answer_async([hit for entry in hits for hit in entry])
            results += [request.read(entry) for request, entry in zip(batch, hits, strict=True)]
        return results

    def _batches(self, requests: Sequence[SearchRequest]) -> Iterator[tuple[Sequence[SearchRequest], bytes]]:
        header = _SERIALIZER.dumps({"index": self.name})
        for start in range(0, len(requests), _MSEARCH_BATCH):
            batch = requests[start : start + _MSEARCH_BATCH]
            with opensearch_errors(self.connection.url, self.name):
                lines = [line for request in batch for line in (header, _SERIALIZER.dumps(request.body))]
            yield batch, b"\n".join(lines) + b"\n"

    def _hits_of_many(self, answer: dict[str, Any]) -> list[Hits]:
        for entry in answer["responses"]:
            if "error" in entry:
                raise IndexingError(
                    f"index '{self.name}' at {self.connection.url} refused a query "
                    f"({entry.get('status')}): {reason_in(entry)}"
                )
        return [self._hits(entry) for entry in answer["responses"]]

    def _hits(self, answer: dict[str, Any]) -> Hits:
        failed = answer.get("_shards", {}).get("failed", 0)
        if failed or answer.get("timed_out"):
            logger.warning(
                "index '%s': an answer is incomplete: %d shards failed, timed out: %s",
                self.name,
                failed,
                answer.get("timed_out"),
            )
        hits: Hits = answer["hits"]["hits"]
        return hits
