"""Many searches in one body are written as one search is."""

import asyncio
import inspect
import math
import uuid
from datetime import date
from decimal import Decimal
from typing import Any, get_type_hints

import orjson
import pytest
from haystack import Document

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.requests import RequestBuilder
from tests.opensearch_fakes import as_checked, tiny_bundle

VECTOR = [1.0] * 8


def meta_is(value: Any) -> dict[str, Any]:
    return {"field": "meta.price", "operator": "==", "value": value}


@pytest.fixture
def index() -> OpenSearchIndex:
    checked = as_checked(OpenSearchIndex("http://127.0.0.1:9", "docs", tiny_bundle()))
    checked._checked_at = math.inf  # however busy the machine is
    return checked


@pytest.mark.parametrize(
    ("value", "written"),
    [(Decimal("1.5"), 1.5), (date(2026, 1, 2), "2026-01-02"), (uuid.UUID(int=1), str(uuid.UUID(int=1)))],
)
def test_filters_of_many_searches_take_the_values_that_one_takes(
    index: OpenSearchIndex, value: Any, written: Any
) -> None:
    request = index._requests.search(VECTOR, filters=meta_is(value))
    ((batch, body),) = index._batches([request])
    assert batch == [request]
    header, line = map(orjson.loads, body.splitlines())
    assert header == {"index": "docs"}
    assert line["query"]["knn"]["embedding"]["filter"] == {"bool": {"must": {"term": {"price": written}}}}


@pytest.mark.parametrize("value", ["bad \ud800 text", object()])
def test_what_is_no_json_is_refused_in_one_search_and_in_many(index: OpenSearchIndex, value: Any) -> None:
    many: dict[str, Any] = {"query_embeddings": [VECTOR], "filters": meta_is(value)}
    for ask in (
        lambda: index.search(VECTOR, filters=meta_is(value)),
        lambda: index.search_many(**many),
        lambda: asyncio.run(index.search_many_async(**many)),
    ):
        with pytest.raises(IndexingError, match="not valid JSON"):
            ask()


@pytest.mark.parametrize(
    ("name", "result"), [("search", list[Document]), ("search_many", list[list[Document]])]
)
def test_a_method_and_its_twin_tell_their_own_names_and_results(name: str, result: Any) -> None:
    build = getattr(RequestBuilder, name)
    for twin in (name, f"{name}_async"):
        method = getattr(OpenSearchIndex, twin)
        assert (method.__name__, method.__qualname__) == (twin, f"SearchableIndex.{twin}")
        assert inspect.signature(method).parameters == inspect.signature(build).parameters
        assert inspect.signature(method).return_annotation == get_type_hints(method)["return"] == result
        assert method.__doc__ == build.__doc__
        assert inspect.iscoroutinefunction(method) == (twin != name)
