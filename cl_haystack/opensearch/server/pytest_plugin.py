"""A real OpenSearch for tests: the fixture ``opensearch_url``.

In a ``conftest.py``::

    from cl_haystack.opensearch.server.pytest_plugin import opensearch_url

The server starts with the first test that asks for it, keeps its data in a temporary folder, and ends with
the session, or with the process should that be killed. ``OPENSEARCH_URL`` names a server to use instead.
"""

import os
from collections.abc import Iterator

import pytest

from cl_haystack.errors import DownloadError

# Small: tests write little, and a test machine often runs more than one session.
TEST_MEMORY = "512m"


@pytest.fixture(scope="session")
def opensearch_url() -> Iterator[str]:
    """Address of an OpenSearch server for the whole session; each test makes and removes its own indices."""
    given = os.environ.get("OPENSEARCH_URL")
    if given:
        yield given
        return
    from cl_haystack.opensearch.server import LocalOpenSearch

    server = LocalOpenSearch(memory=TEST_MEMORY)
    try:
        server.start()
    except DownloadError as error:
        pytest.skip(f"the local OpenSearch server cannot be installed: {error}")
    try:
        yield server.url
    finally:
        server.stop()
