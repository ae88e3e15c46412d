"""The index as its users see it: give it a server, a name and a model; write to it and search it.

Synchronous and asynchronous methods share the building of requests and the reading of answers; they differ
by an ``await``.
"""

import asyncio
import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from haystack import Document
from haystack.utils import Secret
from numpy.typing import NDArray
from opensearchpy import AsyncOpenSearch, OpenSearch

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import ConfigurationError, IndexingError
from cl_haystack.opensearch.adoption import AdoptionReport, adopt
from cl_haystack.opensearch.bound_index import BoundIndex
from cl_haystack.opensearch.connection import (
    DEFAULT_PASSWORD,
    DEFAULT_TIMEOUT_S,
    DEFAULT_USERNAME,
    Connection,
)
from cl_haystack.opensearch.documents import read_hit
from cl_haystack.opensearch.failures import opensearch_errors, reason_in
from cl_haystack.opensearch.mapping import EMBEDDING_FIELD
from cl_haystack.opensearch.queries import (
    Fusion,
    Vector,
    bm25_body,
    hybrid_body,
    knn_body,
)
from cl_haystack.opensearch.settings import IndexSettings

if TYPE_CHECKING:
    from cl_haystack.encoder import TextEncoder

logger = logging.getLogger(__name__)

EQUAL_WEIGHTS = (0.5, 0.5)
_MSEARCH_BATCH = 32


class OpenSearchIndex(BoundIndex):
    """An index, or an alias, whose vectors come from one model.

    The constructor looks at values only; files and servers are touched at the first use.

    :param client_or_url: a ready opensearch-py client (for AWS SigV4 and the like) or an address; None reads
        ``OPENSEARCH_URL``, else uses http://127.0.0.1:9200.
    :param name: name of the index or of an alias.
    :param bundle: the model, loaded or as a path.
    :param username: by default the environment's ``OPENSEARCH_USERNAME``, where that is set.
    :param password: by default the environment's ``OPENSEARCH_PASSWORD``, where that is set.
    :param ca_certs: certificates of the authority that signed the server's.
    :param verify_certs: check the server's certificate.
    :param timeout_s: seconds that one request may take.
    :param async_client: ready asynchronous client, to go with a ready client.
    :param settings: how a new index is made, such as ``{"number_of_shards": 3, "analyzer": "english"}``; of
        an existing one, ``truncate_dim`` and ``ef_search``.
    :param require_binding: refuse an index that carries no binding, such as one made by
        ``OpenSearchDocumentStore``; with False its dimension alone is compared. :meth:`adopt` gives it one.
    :raises ConfigurationError: a value or a combination cannot work on any server.
    """

    def __init__(
        self,
        client_or_url: OpenSearch | str | None,
        name: str,
        bundle: ModelBundle | str | Path,
        *,
        username: Secret | None = DEFAULT_USERNAME,
        password: Secret | None = DEFAULT_PASSWORD,
        ca_certs: str | Path | None = None,
        verify_certs: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        async_client: AsyncOpenSearch | None = None,
        settings: IndexSettings | Mapping[str, Any] | None = None,
        require_binding: bool = True,
    ) -> None:
        connection = Connection(
            client_or_url,
            username=username,
            password=password,
            ca_certs=ca_certs,
            verify_certs=verify_certs,
            timeout_s=timeout_s,
            async_client=async_client,
        )
        super().__init__(
            connection,
            name,
            bundle,
            settings=IndexSettings.of(settings),
            require_binding=require_binding,
        )

    def adopt(
        self,
        encoder: "TextEncoder",
        *,
        sample: int = 100,
        seed: int = 0,
        meta_fields_to_embed: Sequence[str] = (),
        embedding_separator: str = "\n",
    ) -> list[AdoptionReport]:
        """Bind an existing index to the model, after checking that its vectors come from it.

        Documents drawn at random are embedded again; the cosine of each with its stored vector must reach
        ``adoption.MIN_COSINE`` for the bundle's precision, and the lengths must agree within 1 %. Use the
        fp32 bundle where there is one: its threshold is the strictest. Only the mapping's ``_meta`` changes.

        :param encoder: the encoder of the index's bundle.
        :param sample: documents to compare in each index behind the name; all, where there are fewer.
        :param seed: another one draws other documents.
        :param meta_fields_to_embed: meta fields that were embedded before the content.
        :param embedding_separator: stood between them.
        :returns: what was compared, for each index that is bound now.
        :raises AdoptionError: vectors differ; the index stays as it was.
        :raises SpaceMismatchError: the index belongs to another model.
        :raises IndexingError: there is no such index, it has a binding already, or nothing to compare.
        """
        return adopt(
            self,
            encoder,
            sample=sample,
            seed=seed,
            meta_fields=meta_fields_to_embed,
            separator=embedding_separator,
        )

    def search(
        self,
        query_embedding: Vector,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        min_score: float | None = None,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return the documents whose vectors are nearest to a query's.

        :param query_embedding: the query's vector.
        :param top_k: how many.
        :param filters: Haystack filters, applied inside the vector search.
        :param min_score: leave out documents below this score.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with scores.
        """
        self.check()
        return self._run(
            self._knn(
                query_embedding,
                top_k=top_k,
                filters=filters,
                min_score=min_score,
                with_embedding=with_embedding,
            )
        )

    async def search_async(
        self,
        query_embedding: Vector,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        min_score: float | None = None,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return what :meth:`search` returns.

        :param query_embedding: the query's vector.
        :param top_k: how many.
        :param filters: Haystack filters, applied inside the vector search.
        :param min_score: leave out documents below this score.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with scores.
        """
        await self._check_async()
        return await self._run_async(
            self._knn(
                query_embedding,
                top_k=top_k,
                filters=filters,
                min_score=min_score,
                with_embedding=with_embedding,
            )
        )

    def bm25(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return the documents whose content matches the words of a query best.

        :param query: the query's text.
        :param top_k: how many.
        :param filters: Haystack filters.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with BM25 scores; none for a blank query.
        """
        self.check()
        return self._run(self._bm25(query, top_k=top_k, filters=filters, with_embedding=with_embedding))

    async def bm25_async(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return what :meth:`bm25` returns.

        :param query: the query's text.
        :param top_k: how many.
        :param filters: Haystack filters.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with BM25 scores; none for a blank query.
        """
        await self._check_async()
        return await self._run_async(
            self._bm25(query, top_k=top_k, filters=filters, with_embedding=with_embedding)
        )

    def hybrid_search(
        self,
        query: str,
        query_embedding: Vector,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        weights: tuple[float, float] = EQUAL_WEIGHTS,
        fusion: Fusion = "min_max",
        with_embedding: bool = False,
    ) -> list[Document]:
        """Search words and vectors in one request, fused on the server.

        :param query: the query's text.
        :param query_embedding: the query's vector.
        :param top_k: how many.
        :param filters: Haystack filters, applied inside both searches.
        :param weights: of (BM25, vector), with sum 1.
        :param fusion: ``min_max`` or ``rrf``.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with fused scores.
        """
        self.check()
        return self._run(
            self._hybrid(
                query,
                query_embedding,
                top_k=top_k,
                filters=filters,
                weights=weights,
                fusion=fusion,
                with_embedding=with_embedding,
            )
        )

    async def hybrid_search_async(
        self,
        query: str,
        query_embedding: Vector,
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        weights: tuple[float, float] = EQUAL_WEIGHTS,
        fusion: Fusion = "min_max",
        with_embedding: bool = False,
    ) -> list[Document]:
        """Return what :meth:`hybrid_search` returns.

        :param query: the query's text.
        :param query_embedding: the query's vector.
        :param top_k: how many.
        :param filters: Haystack filters, applied inside both searches.
        :param weights: of (BM25, vector), with sum 1.
        :param fusion: ``min_max`` or ``rrf``.
        :param with_embedding: return the documents' vectors too.
        :returns: best first, with fused scores.
        """
        await self._check_async()
        return await self._run_async(
            self._hybrid(
                query,
                query_embedding,
                top_k=top_k,
                filters=filters,
                weights=weights,
                fusion=fusion,
                with_embedding=with_embedding,
            )
        )

    def search_many(
        self,
        *,
        queries: Sequence[str] | None = None,
        query_embeddings: Sequence[Vector] | NDArray[np.float32] | None = None,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        weights: tuple[float, float] = EQUAL_WEIGHTS,
        fusion: Fusion = "min_max",
        with_content: bool = True,
    ) -> list[list[Document]]:
        """Search for many queries in few requests: by vectors, by texts (BM25), or by both (hybrid).

        :param queries: the texts; with ``query_embeddings`` too, the search is hybrid.
        :param query_embeddings: the vectors, ``(num_queries, dim)``.
        :param top_k: how many documents a query.
        :param filters: Haystack filters.
        :param weights: of (BM25, vector) in a hybrid search, with sum 1.
        :param fusion: ``min_max`` or ``rrf``, in a hybrid search.
        :param with_content: False returns ids and scores alone.
        :returns: one list a query.
        :raises ConfigurationError: neither texts nor vectors are given, or unequal numbers of them.
        """
        self.check()
        common: dict[str, Any] = {"top_k": top_k, "filters": filters}
        if queries is not None and query_embeddings is not None:
            if len(queries) != len(query_embeddings):
                raise ConfigurationError(f"{len(queries)} texts and {len(query_embeddings)} vectors differ")
            common |= {"weights": weights, "fusion": fusion}
            pairs = zip(queries, query_embeddings, strict=True)
            bodies = [self._hybrid(query, vector, **common) for query, vector in pairs]
        elif query_embeddings is not None:
            bodies = [self._knn(vector, **common) for vector in query_embeddings]
        elif queries is not None:
            bodies = [self._bm25(query, **common) for query in queries]
        else:
            raise ConfigurationError("search_many needs queries, query_embeddings, or both")
        return self._run_many(bodies if with_content else [{**body, "_source": False} for body in bodies])

    def get_documents(self, ids: Sequence[str], *, with_embedding: bool = False) -> list[Document]:
        """Return stored documents by their ids, written ones even before a refresh.

        :param ids: ids in any number.
        :param with_embedding: return the documents' vectors too.
        :returns: in the order of ``ids``; those that do not exist are left out.
        """
        self.check()
        params = {} if with_embedding else {"_source_excludes": EMBEDDING_FIELD}
        return [read_hit(hit) for hit in self._mget(ids, params)]

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain types, for a pipeline's YAML.

        :returns: a plain dictionary; secrets as names of environment variables.
        :raises ConfigurationError: a ready client or a literal password cannot be written down.
        """
        plain = {
            **self.connection.to_dict(),
            "name": self.name,
            "bundle": str(self.bundle_path),
            "settings": self.settings.model_dump(mode="json", exclude_unset=True),
            "require_binding": self._require_binding,
        }
        return copy.deepcopy(plain)  # two components with one index would share parts in the YAML (&id001)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "OpenSearchIndex":
        """Return an index from what :meth:`to_dict` wrote; what is left out takes its default.

        :param data: the plain dictionary; ``name`` and ``bundle`` are needed.
        :returns: the index, not yet opened.
        :raises ConfigurationError: an entry is missing or unknown.
        """
        arguments = dict(data)
        for secret in ("username", "password"):
            if isinstance(arguments.get(secret), dict):
                arguments[secret] = Secret.from_dict(arguments[secret])
        try:
            name, bundle = arguments.pop("name"), arguments.pop("bundle")
            return cls(arguments.pop("url", None), name, bundle, **arguments)
        except KeyError as error:
            raise ConfigurationError(f"the description of an index has no entry {error}") from error
        except TypeError as error:
            raise ConfigurationError(f"the description of an index cannot be used: {error}") from error

    def _knn(self, vector: Vector, **options: Any) -> dict[str, Any]:
        return knn_body(
            self._valid(vector),
            ef_search=self.settings.ef_search,
            nested_fields=self._nested_fields,
            **options,
        )

    def _bm25(self, query: str, **options: Any) -> dict[str, Any]:
        return bm25_body(query, nested_fields=self._nested_fields, **options)

    def _hybrid(self, query: str, vector: Vector, **options: Any) -> dict[str, Any]:
        return hybrid_body(
            query,
            self._valid(vector),
            ef_search=self.settings.ef_search,
            nested_fields=self._nested_fields,
            **options,
        )

    def _valid(self, vector: Vector) -> list[float]:
        row = np.asarray(vector, dtype=np.float32)
        if row.shape != (self.dimension,):
            raise IndexingError(
                f"index '{self.name}': the query's vector has shape {row.shape}, expected "
                f"({self.dimension},); embed the query with {self.bundle.label}"
            )
        if not np.isfinite(row).all():
            raise IndexingError(f"index '{self.name}': the query's vector holds NaN or an infinite number")
        return list(row.tolist())

    async def _check_async(self) -> None:
        if self.check_is_due():
            await asyncio.to_thread(self.check)

    def _run(self, body: dict[str, Any]) -> list[Document]:
        with opensearch_errors(self.connection.url, self.name):
            hits = self._hits(self._client.search(index=self.name, body=body))
        self.check_answer(hit["_index"] for hit in hits)
        return [read_hit(hit) for hit in hits]

    async def _run_async(self, body: dict[str, Any]) -> list[Document]:
        client = self.connection.async_client()
        if client is None:
            return await asyncio.to_thread(self._run, body)
        with opensearch_errors(self.connection.url, self.name):
            hits = self._hits(await client.search(index=self.name, body=body))
        if not self._checked.issuperset(hit["_index"] for hit in hits):
            await asyncio.to_thread(self.check, fresh=True)
        return [read_hit(hit) for hit in hits]

    def _run_many(self, bodies: Sequence[dict[str, Any]]) -> list[list[Document]]:
        results: list[list[Document]] = []
        header = orjson.dumps({"index": self.name})
        for start in range(0, len(bodies), _MSEARCH_BATCH):
            batch = bodies[start : start + _MSEARCH_BATCH]
            lines = [line for body in batch for line in (header, orjson.dumps(body))]
            with opensearch_errors(self.connection.url, self.name):
                answers = self._client.msearch(body=b"\n".join(lines) + b"\n")["responses"]
            for answer in answers:
                if "error" in answer:
                    raise IndexingError(
                        f"index '{self.name}' at {self.connection.url} refused a query "
                        f"({answer.get('status')}): {reason_in(answer)}"
                    )
                hits = self._hits(answer)
                self.check_answer(hit["_index"] for hit in hits)
                results.append([read_hit(hit) for hit in hits])
        return results

    def _hits(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        failed = answer.get("_shards", {}).get("failed", 0)
        if failed or answer.get("timed_out"):
            logger.warning(
                "index '%s': an answer is incomplete: %d shards failed, timed out: %s",
                self.name,
                failed,
                answer.get("timed_out"),
            )
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits
