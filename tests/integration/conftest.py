"""A server of either version, and indices of their own for each test; `calm` is one that nothing disturbs."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.server.pytest_plugin import TEST_MEMORY
from tests.index_state import contents
from tests.indexing_job import COUNT, documents
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import OLDEST

MakeIndex = Callable[..., OpenSearchIndex]


@pytest.fixture(scope="session")
def oldest_url() -> Iterator[str]:
    """Address of the oldest server that is supported, for the whole session."""
    from cl_haystack.opensearch.server import LocalOpenSearch

    with LocalOpenSearch(version=OLDEST, memory=TEST_MEMORY) as server:
        yield server.url


@pytest.fixture(scope="session")
def opensearch_url(request: pytest.FixtureRequest, opensearch_url: str) -> str:
    """Address of the session's server, or of the oldest one for tests marked ``on_every_version``."""
    if getattr(request, "param", None) == OLDEST:
        url: str = request.getfixturevalue("oldest_url")
        return url
    return opensearch_url


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


@pytest.fixture
def calm(make_index: MakeIndex, index_name: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """Contents of an index that nothing disturbed."""
    index = make_index(name=f"{index_name}-calm")

    def fill(**options: Any) -> dict[str, Any]:
        index_documents(documents(COUNT, **options), index, WordEncoder(tiny_bundle()))
        return contents(index)

    yield fill
    index.delete()
