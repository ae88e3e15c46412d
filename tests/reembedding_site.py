"""An alias that is re-embedded, people who use it meanwhile, and a look behind our back at the server."""

import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from haystack import Document
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException

from cl_haystack.opensearch import Connection, OpenSearchIndex, WhicheverFits, index_documents
from cl_haystack.opensearch.content_hash import HASH_FIELD
from tests.opensearch_fakes import WordEncoder
from tests.reembedding_job import NEW, OLD, SpacedEncoder

SETTINGS = {"number_of_shards": 2, "number_of_replicas": 0, "analyzer": "english"}


class Site:
    """An alias over an index of the old model, and what a test asks of the server behind our back."""

    def __init__(self, url: str) -> None:
        self.url, self.alias = url, f"test-{uuid.uuid4().hex}"
        self.old, self.new = f"{self.alias}-first", f"{self.alias}-{'2' * 8}"
        self.client = OpenSearch(hosts=[url], timeout=60)
        self.connection = Connection(url)
        self._opened: list[OpenSearchIndex] = []

    def open(
        self, bundle: Any, name: str | None = None, *, url: str | None = None, **options: Any
    ) -> OpenSearchIndex:
        index = OpenSearchIndex(url or self.url, name or self.alias, bundle, **options)
        self._opened.append(index)
        return index

    def fill(self, documents: list[Document], *, aliased: bool = True) -> None:
        index = self.open(OLD, self.old if aliased else self.alias, settings=SETTINGS)
        index_documents(documents, index, SpacedEncoder(OLD))
        if aliased:
            self.client.indices.put_alias(index=self.old, name=self.alias)

    def leads_to(self) -> list[str]:
        return sorted(self.client.indices.get_alias(name=self.alias))

    def contents(self, name: str | None = None) -> dict[str, Any]:
        self.client.indices.refresh(index=name or self.alias)
        body = {"query": {"match_all": {}}, "size": 10_000}
        hits = self.client.search(index=name or self.alias, body=body)["hits"]["hits"]
        return {hit["_id"]: {**hit["_source"], "_routing": hit.get("_routing")} for hit in hits}

    def is_blocked(self, name: str) -> bool:
        settings = self.client.indices.get_settings(index=name)[name]["settings"]["index"]
        return settings.get("blocks", {}).get("write") == "true"

    def lease_is_free(self) -> bool:
        return not self.client.indices.exists(index=f"{self.alias}-reembed-lease")

    def remove(self) -> None:
        for index in self._opened:
            index.close()
        for name in self.client.indices.get(index=f"{self.alias}*", params={"expand_wildcards": "all"}):
            self.client.indices.delete(index=name)
        self.connection.close()
        self.client.close()


def documents(count: int, start: int = 0) -> list[Document]:
    return [
        Document(id=f"d{number}", content=f"text number {number}", meta={"n": number, "tags": ["a", "b"]})
        for number in range(start, start + count)
    ]


def without_vectors(contents: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: v for key, v in source.items() if key not in ("embedding", HASH_FIELD)}
        for name, source in contents.items()
    }


def assert_vectors_are_of(encoder: WordEncoder, contents: dict[str, Any]) -> None:
    """Every stored vector is what this model makes of the stored text, and of no other model."""
    with_text = [source for source in contents.values() if source.get("content")]
    made = encoder.encode_documents([source["content"] for source in with_text])
    stored = np.array([source["embedding"] for source in with_text])
    assert np.allclose(stored, made, atol=1e-5)


class Load:
    """A writer, a reader and somebody who looks where the alias leads, until the block ends."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.chance = site, random.Random(seed)
        self.expected = {source["id"]: source["content"] for source in site.contents().values()}
        self.fixed = sorted(self.expected)[:50]  # never written again, so they are always found
        self.led_to: list[str] = []
        self.queries = self.writes = self.deletes = 0
        self.problems: list[BaseException] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=[work], daemon=True)
            for work in (self._write, self._read, self._look)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(150)
            assert not thread.is_alive()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            while not self._end.is_set():
                work()
        except BaseException as error:  # noqa: BLE001  (a thread of a test)
            self.problems.append(error)

    def _write(self) -> None:
        if not hasattr(self, "_index"):
            self._index = self._fitting(
                lambda index, encoder, batch: index_documents(batch, index, encoder, refresh=False)
            )
        if self.chance.random() < 0.3:
            self._delete(self.chance.choice(sorted(set(self.expected) - set(self.fixed))))
            return
        number = self.chance.randrange(10_000)
        batch = [
            Document(id=f"d{number + step}", content=f"written {self.writes} {step} now", meta={"n": -step})
            for step in range(self.chance.randrange(1, 5))
            if f"d{number + step}" not in self.fixed
        ]
        report = self._index(batch)
        assert report.written + report.skipped == len(batch)
        self.expected |= {document.id: document.content for document in batch}
        self.writes += 1
        time.sleep(0.01)

    def _delete(self, name: str) -> None:
        while not self._end.is_set():
            try:
                self.site.client.delete(index=self.site.alias, id=name)
            except AuthorizationException:  # blocked
                time.sleep(0.05)
                continue
            del self.expected[name]
            self.deletes += 1
            return

    def _read(self) -> None:
        if not hasattr(self, "_search"):
            self._search = self._fitting(
                lambda index, encoder, text: index.search(encoder.encode_queries([text])[0], top_k=3)
            )
        name = self.chance.choice(self.fixed)
        found = self._search(self.site_text(name))
        assert found[0].id == name
        self.queries += 1

    def _look(self) -> None:
        (name,) = self.site.leads_to()
        if self.led_to[-1:] != [name]:
            self.led_to.append(name)

    def site_text(self, name: str) -> str:
        return self.expected[name]

    def _fitting(self, ask: Callable[..., Any]) -> Any:
        def way(bundle: Any) -> Callable[[Any], Any]:
            index, encoder = self.site.open(bundle), SpacedEncoder(bundle)
            return lambda question: ask(index, encoder, question)

        return WhicheverFits([way(OLD), way(NEW)])
