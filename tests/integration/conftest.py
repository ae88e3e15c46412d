"""Indices of their own for each test, removed after it."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cl_haystack.opensearch import OpenSearchIndex
from tests.opensearch_fakes import tiny_bundle

MakeIndex = Callable[..., OpenSearchIndex]


@pytest.fixture
def index_name(opensearch_url: str) -> Iterator[str]:
    """A name that no other test uses; whatever is behind it is deleted at the end."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    index = OpenSearchIndex(opensearch_url, name, tiny_bundle())
    index.delete()
    index.close()


@pytest.fixture
def make_index(opensearch_url: str, index_name: str) -> Iterator[MakeIndex]:
    """Make OpenSearchIndex objects for the test's index; all closed at the end."""
    made: list[OpenSearchIndex] = []

    def make(bundle: Any = None, *, client_or_url: Any = None, name: str = index_name, **options: Any) -> Any:
        index = OpenSearchIndex(client_or_url or opensearch_url, name, bundle or tiny_bundle(), **options)
        made.append(index)
        return index

    yield make
    for index in made:
        index.close()
