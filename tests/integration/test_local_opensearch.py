"""LocalOpenSearch and the fixture, against the real server."""

import json
import urllib.request
from typing import Any

import pytest

pytestmark = pytest.mark.integration


def ask(url: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_the_fixture_answers(opensearch_url: str) -> None:
    assert ask(opensearch_url)["version"]["distribution"] == "opensearch"
