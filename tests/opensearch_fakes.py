"""Small stand-ins for OpenSearch tests: a bundle without files, a tiny encoder, a client that fails."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionTimeout, TransportError

from cl_haystack.bundle import Manifest, ModelBundle
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.content_hash import HASH_FIELD, HASH_MAPPING
from cl_haystack.progress import Progress, ignore


def as_checked(index: OpenSearchIndex, name: str = "docs") -> OpenSearchIndex:
    """Let an index believe that it was checked a moment ago, so that its next request is a search."""
    field = {"type": "knn_vector", "dimension": index.dimension, "method": {"space_type": "cosinesimil"}}
    index._remember({name: {"properties": {"embedding": field}}})
    index._checked, index._checked_at = frozenset({name}), time.monotonic()
    return index


def tiny_bundle(
    dimension: int = 8,
    *,
    name: str = "tiny",
    space: str = "a",
    fingerprint: str = "b",
    precision: str = "fp32",
    similarity: str = "cosine",
    path: str = "no/such/bundle",
    normalize: bool = True,
    matryoshka_dimensions: tuple[int, ...] = (),
) -> ModelBundle:
    manifest = Manifest.model_validate(
        {
            "name": name,
            "space_id": space * 32,
            "fingerprint": fingerprint * 32,
            "files": {},
            "embedding": {
                "dimension": dimension,
                "pooling": "mean",
                "normalize": normalize,
                "similarity": similarity,
                "matryoshka_dimensions": matryoshka_dimensions,
            },
            "text": {"max_length": 16, "query_prefix": "query: "},
            "numerics": {"precision": precision, "scheme": "none", "batch_invariant": True},
            "graph": {"inputs": ["input_ids", "attention_mask"], "opset": 17, "ir_version": 8},
        }
    )
    return ModelBundle(path=Path(path), manifest=manifest)


class WordEncoder:
    """Unit vectors from hashed words: texts that share words are near each other."""

    def __init__(self, bundle: ModelBundle, truncate_dim: int | None = None) -> None:
        self.bundle = bundle
        self.dimension = truncate_dim or bundle.dimension
        self.encoded: list[str] = []

    def _encode(self, texts: Sequence[str], on_progress: Callable[[Progress], None]) -> Any:
        self.encoded += texts
        rows = np.full((len(texts), self.dimension), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
                seed = int.from_bytes(digest[:8], "big")
                rows[row] += np.random.default_rng(seed).normal(size=rows.shape[1]).astype(np.float32)
            on_progress(Progress(row + 1, len(texts)))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_queries(self, texts: Sequence[str], *, on_progress: Any = ignore) -> Any:
        return self._encode(texts, on_progress)

    async def encode_query_async(self, text: str) -> Any:
        return self._encode([text], ignore)[0]

    def encode_documents(self, texts: Sequence[str], *, on_progress: Any = ignore) -> Any:
        return self._encode(texts, on_progress)


class FaultyClient(OpenSearch):
    """The real client, except that chosen bulk calls go wrong: ``faults`` maps call numbers to kinds.

    ``429``, ``503``: refused, nothing written. ``lost``: written, but the answer never arrives. ``cut``:
    never arrives. ``partial``: every second document is answered with 429 and not written. ``garbled``:
    written, and the answer is no JSON.
    """

    def __init__(self, url: str, faults: dict[int, str]) -> None:
        super().__init__(hosts=[url], timeout=30, max_retries=0)
        self.faults = faults
        self.calls = 0

    def bulk(self, *, body: Any, **arguments: Any) -> Any:
        fault = self.faults.get(self.calls)
        self.calls += 1
        if fault in ("429", "503"):
            raise TransportError(int(fault), "rejected_execution_exception", {"error": "queue is full"})
        if fault == "cut":
            raise ConnectionTimeout("TIMEOUT", "no answer", TimeoutError())
        if fault == "lost":
            super().bulk(body=body, **arguments)
            raise ConnectionTimeout("TIMEOUT", "no answer", TimeoutError())
        if fault == "garbled":
            from opensearchpy.exceptions import SerializationError

            super().bulk(body=body, **arguments)
            raise SerializationError("<html>", ValueError())
        if fault == "partial":
            return self._write_every_second(body, arguments)
        return super().bulk(body=body, **arguments)

    def _write_every_second(self, body: bytes, arguments: dict[str, Any]) -> Any:
        lines = body.rstrip(b"\n").split(b"\n")
        pairs = [lines[start : start + 2] for start in range(0, len(lines), 2)]
        kept = b"".join(b"\n".join(pair) + b"\n" for pair in pairs[::2])
        written = iter(super().bulk(body=kept, **arguments)["items"])
        items = []
        for position, pair in enumerate(pairs):
            if position % 2 == 0:
                items.append(next(written))
            else:
                verb = next(iter(orjson.loads(pair[0])))
                error = {"type": "rejected_execution_exception", "reason": "queue is full"}
                items.append({verb: {"status": 429, "error": error}})
        return {"errors": True, "items": items}


class MemoryServer(OpenSearch):
    """A client of a server that is not there: index ``docs``, in memory, as far as an indexing job asks.

    :param rejected: ids of documents that it refuses.
    :param dimension: of its vectors.
    """

    def __init__(self, rejected: Sequence[str] = (), dimension: int = 8) -> None:
        super().__init__(hosts=["http://memory:9200"], max_retries=0)
        self.transport.perform_request = self._answer  # type: ignore[method-assign]
        self.rejected = frozenset(rejected)
        self.documents: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.settings: dict[str, Any] = {"uuid": "u"}
        embedding = {"type": "knn_vector", "dimension": dimension, "method": {"space_type": "cosinesimil"}}
        self.mapping: dict[str, Any] = {"properties": {"embedding": embedding, HASH_FIELD: HASH_MAPPING}}

    def _answer(self, method: str, url: str, *, body: Any = None, **_: Any) -> Any:
        self.requests.append(f"{method} {url}")
        whole = {"settings": {"index": self.settings}, "mappings": self.mapping, "aliases": {}}
        match method, url.removeprefix("/docs"):
            case "GET", "" | "/_mapping" | "/_settings" | "/_alias":
                return {"docs": whole}
            case "PUT", "/_mapping":
                self.mapping |= body
            case "PUT", "/_settings":
                self.settings |= body["index"]
            case _, "/_count":
                return {"count": len(self.documents)}
            case _, "/_mget":
                return {"docs": [self._found(target["_id"]) for target in body["docs"]]}
            case _, "/_bulk":
                lines = [orjson.loads(line) for line in body.splitlines()]
                return {"items": [self._write(*pair) for pair in zip(lines[::2], lines[1::2], strict=True)]}
        return {}

    def _found(self, name: str) -> dict[str, Any]:
        source = self.documents.get(name)
        return {"_id": name, "found": source is not None, "_source": source}

    def _write(self, head: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
        ((verb, target),) = head.items()
        if target["_id"] in self.rejected:
            error = {"type": "mapper_parsing_exception", "reason": "failed to parse"}
            return {verb: {"_index": "docs", "status": 400, "error": error}}
        if verb == "create" and target["_id"] in self.documents:
            error = {"type": "version_conflict_engine_exception", "reason": "document already exists"}
            return {verb: {"_index": "docs", "status": 409, "error": error}}
        self.documents[target["_id"]] = {name: value for name, value in source.items() if name != "embedding"}
        return {verb: {"_index": "docs", "status": 201}}
