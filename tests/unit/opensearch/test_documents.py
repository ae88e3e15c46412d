"""Documents as stored: the stock store's schema, and documents that no server would take."""

import datetime as dt
import decimal
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from haystack import Document
from haystack.dataclasses import ByteStream
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.opensearch.documents import (
    UnwritableDocumentError,
    embedding_text,
    read_hit,
    source_json,
    with_embedding,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["id", "content", "meta", "score", "embedding", "dataframe"]) | texts.filter(
    lambda name: name != "_routing"
)


@given(texts, st.dictionaries(names, values, max_size=5), st.lists(st.floats(-1, 1, width=32), min_size=1))
def test_the_stored_form_is_the_stock_stores(content: str, meta: dict[str, Any], vector: list[float]) -> None:
    document = Document(content=content, meta=meta, embedding=vector)
    stored = orjson.loads(with_embedding(source_json(document), np.array(vector, dtype=np.float32)))
    stock = document.to_dict()
    stock.pop("sparse_embedding")  # the stock store takes it out as well
    np.testing.assert_array_equal(np.float32(stored.pop("embedding")), np.float32(stock.pop("embedding")))
    assert stored == orjson.loads(orjson.dumps(stock))


@given(texts, st.dictionaries(names, values, max_size=5))
def test_writing_and_reading_give_the_document_back(content: str, meta: dict[str, Any]) -> None:
    document = Document(content=content, meta=meta)
    source = orjson.loads(with_embedding(source_json(document), None))
    read = read_hit({"_id": document.id, "_source": source, "_score": 0.5})
    assert read.id == document.id
    assert read.content == content
    assert read.meta == meta
    assert read.score == 0.5
    assert read.embedding is None


def test_a_blob_survives() -> None:
    document = Document(blob=ByteStream(b"\x00\xff", meta={"a": 1}, mime_type="image/png"))
    source = orjson.loads(with_embedding(source_json(document), None))
    assert read_hit({"_id": document.id, "_source": source}).blob == document.blob


def test_a_document_of_somebody_elses_without_id_field_gets_the_hits() -> None:
    assert read_hit({"_id": "7", "_source": {"content": "x", "year": 3}, "_score": 1.0}).id == "7"


def test_values_that_json_does_not_know_are_written_as_readers_expect() -> None:
    meta = {
        "date": dt.datetime(2020, 1, 2, tzinfo=dt.UTC),
        "day": dt.date(2020, 1, 2),
        "price": decimal.Decimal("1.5"),
        "path": Path("a/b"),
        "tags": {"y", "x"},
        "count": np.int64(3),
        "row": np.array([1.0, 2.0]),
        5: "number as key",
    }
    stored = orjson.loads(source_json(Document(id="1", content="x", meta=meta)))
    assert stored["date"] == "2020-01-02T00:00:00+00:00"
    assert (stored["day"], stored["price"], stored["path"]) == ("2020-01-02", 1.5, "a/b")
    assert (stored["tags"], stored["count"], stored["row"]) == (["x", "y"], 3, [1.0, 2.0])
    assert stored["5"] == "number as key"


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (Document(content="x", meta={"a": {"b": [1.0, math.nan]}}), r"a\.b.*nan"),
        (Document(content="x", meta={"a": np.float32("inf")}), "inf"),
        (Document(content="x", meta={"a": np.array([math.nan])}), "NaN"),
        (Document(content="x", meta={"a": object()}), "object has no JSON form|object"),
        (Document(id="1", content="bad \ud800"), "surrogates|UTF-8"),
        (Document(id="x" * 513, content="x"), "512 bytes"),
        (Document(content="x", meta={"a": deep(400)}), "ecursion"),
        (Document(content="x", meta={"a": 2**70}), "64-bit"),
        (Document(id=7, content="x"), "id is of type int, expected a text"),  # type: ignore[arg-type]
        (Document(id="1", content="x", meta=None), "meta is of type NoneType"),  # type: ignore[arg-type]
        (Document(id="1", content="x", meta=["a"]), "meta is of type list"),  # type: ignore[arg-type]
        (Document(id="1", blob="x"), "blob is of type str, expected a ByteStream"),  # type: ignore[arg-type]
        (Document(id="1", blob=ByteStream(5)), "cannot be written as JSON"),  # type: ignore[arg-type]
        (Document(content="x", meta={"_routing": ["a"]}), "_routing is of type list"),
    ],
    ids=[
        *("nan", "infinity", "array", "object", "surrogate", "long id", "deep", "huge integer"),
        *("id", "no meta", "list as meta", "blob", "number as blob", "routing"),
    ],
)
def test_what_no_server_takes_is_refused_with_a_reason(document: Document, reason: str) -> None:
    with pytest.raises(UnwritableDocumentError, match=reason):
        source_json(document)


@pytest.mark.parametrize("vector", [[1.0, math.nan], [math.inf], ["a"], [[1.0], [1.0, 2.0]], [10**400]])
def test_vectors_that_are_none_are_refused(vector: Any) -> None:
    with pytest.raises(UnwritableDocumentError, match="embedding"):
        with_embedding(b'{"a":1}', vector)


def test_text_to_embed_joins_meta_and_content_as_haystack_does() -> None:
    document = Document(content="body", meta={"title": "T", "year": 7, "none": None})
    assert embedding_text(document) == "body"
    assert embedding_text(document, ["title", "none", "missing", "year"], " | ") == "T | 7 | body"
    assert embedding_text(Document(meta={"title": "T"}), ["title"]) == "T\n"
