"""Haystack documents as OpenSearch stores them, in the very schema of ``OpenSearchDocumentStore``.

Written without ``Document.to_dict``, whose deep copy costs more than everything else here: the source is
serialized once, *before* anything is embedded, so a document that no server would take is found early; the
vector is spliced in as bytes from a numpy row afterwards.
"""

import dataclasses
import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import numpy as np
import orjson
from haystack import Document
from haystack.dataclasses import ByteStream
from numpy.typing import NDArray

from cl_haystack.opensearch.content_hash import HASH_FIELD
from cl_haystack.opensearch.mapping import EMBEDDING_FIELD
from cl_haystack.opensearch.vector_form import VectorForm

MAX_ID_BYTES = 512
ROUTING_FIELD = "_routing"
WITHOUT_VECTOR = {"excludes": [EMBEDDING_FIELD, HASH_FIELD]}
"""What of a document does not depend on the model."""

# Sorted, so that equal documents have equal bytes and hashes.
_JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS
# Names that flat meta may not take: Haystack keeps such keys in a nested "meta" (Document.to_dict).
_RESERVED = frozenset(field.name for field in dataclasses.fields(Document)) | {
    "content_type",
    "dataframe",
    HASH_FIELD,
}
# What Document declares and does not check.
_TYPES: dict[str, tuple[Any, str]] = {
    "id": (str, "a text"),
    "content": (str | None, "a text"),
    "meta": (dict, "a dictionary"),
    "blob": (ByteStream | None, "a ByteStream"),
}


class UnwritableDocumentError(ValueError):
    """A document that cannot be stored, with the reason; never leaves the writing of documents."""


class StoredDocument(Document):
    """A document as an index holds it; written to another one, its stored form stays what it is.

    :param hit: element of a search answer's ``hits.hits``.
    """

    def __init__(self, hit: dict[str, Any]) -> None:
        source, _ = split_hash(hit.get("_source") or {})
        embedding = source.pop(EMBEDDING_FIELD, None)
        source = source or {"id": hit["_id"]}
        content = source.get("content")
        meta = {name: value for name, value in source.items() if name not in _RESERVED}
        if "_routing" in hit:
            meta[ROUTING_FIELD] = hit["_routing"]
        text = content if isinstance(content, str) else None
        super().__init__(id=hit["_id"], content=text, meta=meta, embedding=embedding)
        self.source = canonical_json(source)


class UnwritableDocument(Document):
    """Stands in a stream for what is no document, so that it is refused, named and kept like one.

    :param name: where it was found.
    :param content: what was found.
    :param problem: why it is none.
    """

    def __init__(self, name: str, content: str, problem: str) -> None:
        super().__init__(id=name, content=content)
        self.problem = problem


def embedding_text(document: Document, meta_fields: Sequence[str] = (), separator: str = "\n") -> str:
    """Return the text that is embedded: chosen meta fields, then the content, as Haystack's embedders do."""
    values = [str(document.meta[name]) for name in meta_fields if document.meta.get(name) is not None]
    return separator.join([*values, document.content or ""])


def source_json(document: Document) -> bytes:
    """Return the stored form of a document without its embedding.

    :param document: any document.
    :returns: a JSON object.
    :raises UnwritableDocumentError: the document cannot be stored, whatever the server is.
    """
    if isinstance(document, StoredDocument):
        return document.source
    if isinstance(document, UnwritableDocument):
        raise UnwritableDocumentError(document.problem)
    _refuse_wrong_types(document)
    if len(document.id.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        raise UnwritableDocumentError(f"the id is longer than {MAX_ID_BYTES} bytes")
    source = {name: value for name, value in document.meta.items() if name not in _RESERVED}
    source.pop(ROUTING_FIELD, None)
    if reserved := {name: value for name, value in document.meta.items() if name in _RESERVED}:
        source["meta"] = reserved
    source["id"] = document.id
    source["content"] = document.content
    source["score"] = document.score
    try:
        source["blob"] = None if document.blob is None else document.blob.to_dict()
        for name, value in document.meta.items():
            _refuse_nan(name, value)
        return orjson.dumps(source, default=_plain, option=_JSON_OPTIONS)
    except (TypeError, RecursionError) as error:
        raise UnwritableDocumentError(f"cannot be written as JSON: {error}") from error


def with_embedding(
    source: bytes,
    embedding: NDArray[np.float32] | Sequence[float] | None,
    content_hash: str | None = None,
    form: VectorForm = VectorForm(),  # noqa: B008 (frozen)
) -> bytes:
    """Return a stored form with the embedding added.

    :param source: what :func:`source_json` returned.
    :param embedding: the vector; None stores a null, as the stock store does.
    :param content_hash: the document's hash; None where the index keeps none.
    :param form: how the index stores vectors.
    :returns: a JSON object.
    :raises UnwritableDocumentError: the vector holds something other than finite numbers.
    """
    end = b"}" if content_hash is None else b',"%s":"%s"}' % (HASH_FIELD.encode(), content_hash.encode())
    if embedding is None:
        return source[:-1] + b',"embedding":null' + end
    try:
        row = np.ascontiguousarray(embedding, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnwritableDocumentError(f"the embedding is not a list of numbers: {error}") from error
    if not np.isfinite(row).all():
        raise UnwritableDocumentError("the embedding holds NaN or an infinite number")
    return source[:-1] + b',"embedding":' + orjson.dumps(form(row), option=_JSON_OPTIONS) + end


def split_hash(source: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return a stored document without its hash, and the hash.

    :param source: an element's ``_source`` in an answer.
    :returns: the rest of it, and the hash; None where it has none.
    """
    rest = {name: value for name, value in source.items() if name != HASH_FIELD}
    found = source.get(HASH_FIELD)
    return rest, found if isinstance(found, str) else None


def canonical_json(source: dict[str, Any]) -> bytes:
    """Return a stored document, read back, as :func:`source_json` wrote it."""
    return orjson.dumps(source, option=_JSON_OPTIONS)


def read_hit(hit: dict[str, Any]) -> Document:
    """Return the document of a search hit, with the hit's score.

    :param hit: one element of a search answer's ``hits.hits``, or of an mget answer's ``docs``.
    :returns: the document; only id and score where the request asked for no source.
    """
    source = hit.get("_source") or {}
    return Document.from_dict({"id": hit["_id"], **source, "score": hit.get("_score")})


def _refuse_wrong_types(document: Document) -> None:
    for name, (kind, expected) in _TYPES.items():
        _refuse_unless(getattr(document, name), kind, name, expected)
    _refuse_unless(document.meta.get(ROUTING_FIELD), str | int | float | None, ROUTING_FIELD, "a text")


def _refuse_unless(value: Any, kind: Any, name: str, expected: str) -> None:
    if not isinstance(value, kind):
        raise UnwritableDocumentError(f"{name} is of type {type(value).__name__}, expected {expected}")


def _refuse_nan(name: str, value: Any) -> None:
    """Raise for NaN and infinity: orjson would turn them silently into null."""
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise UnwritableDocumentError(f"field {name!r} holds {value}, which JSON cannot hold")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nan(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_nan(name, inner)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
        raise UnwritableDocumentError(f"field {name!r} holds NaN or infinity, which JSON cannot hold")


def _plain(value: Any) -> Any:
    """Convert what orjson does not know but opensearch-py's serializer, or a reader, would expect."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
