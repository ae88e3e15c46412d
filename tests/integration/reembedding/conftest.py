"""A site of its own for each test, removed after it."""

from collections.abc import Iterator

import pytest

from tests.reembedding_site import Site


@pytest.fixture
def site(opensearch_url: str) -> Iterator[Site]:
    made = Site(opensearch_url)
    yield made
    made.remove()
