"""LocalOpenSearch and the fixture, against the real server."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server import LocalOpenSearch, java

pytestmark = pytest.mark.integration

VECTORS = {"1": [1.0, 0.0, 0.1], "2": [0.0, 1.0, 0.1], "3": [0.9, 0.1, 0.1]}
MAPPING = {
    "settings": {"index.knn": True, "number_of_shards": 1, "number_of_replicas": 0},
    "mappings": {
        "properties": {
            "text": {"type": "text"},
            "kind": {"type": "keyword"},
            "vector": {
                "type": "knn_vector",
                "dimension": 3,
                "method": {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"},
            },
        }
    },
}

OWNER = """
import sys, time
from cl_haystack.opensearch.server import LocalOpenSearch
with LocalOpenSearch(memory="256m") as server:
    print(server.pids[0], server.nodes[0].spec.home, flush=True)
    time.sleep(120)
"""


def ask(url: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)


def fill(url: str, index: str) -> None:
    ask(f"{url}/{index}", "PUT", MAPPING)
    for number, vector in VECTORS.items():
        document = {"vector": vector, "text": f"text {number}", "kind": "odd" if int(number) % 2 else "even"}
        ask(f"{url}/{index}/_doc/{number}", "PUT", document)
    ask(f"{url}/{index}/_refresh", "POST")


def hits(answer: dict[str, Any]) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def knn(vector: list[float], k: int = 3, **more: Any) -> dict[str, Any]:
    return {"knn": {"vector": {"vector": vector, "k": k, **more}}}


@pytest.fixture
def index(opensearch_url: str) -> Iterator[str]:
    """Address of a small index with text and vectors."""
    name = f"test-{uuid.uuid4().hex}"
    fill(opensearch_url, name)
    yield f"{opensearch_url}/{name}"
    ask(f"{opensearch_url}/{name}", "DELETE")


def test_nearest_neighbours_come_in_order(index: str) -> None:
    assert hits(ask(f"{index}/_search", "POST", {"query": knn([1, 0, 0.1])})) == ["1", "3", "2"]


def test_a_filter_is_part_of_the_vector_search(index: str) -> None:
    query = knn([0, 1, 0.1], k=1, filter={"term": {"kind": "odd"}})
    assert hits(ask(f"{index}/_search", "POST", {"query": query})) == ["3"]


@pytest.mark.parametrize(
    "processor",
    [
        {
            "normalization-processor": {
                "normalization": {"technique": "min_max"},
                "combination": {"technique": "arithmetic_mean", "parameters": {"weights": [0.5, 0.5]}},
            }
        },
        {"score-ranker-processor": {"combination": {"technique": "rrf"}}},
    ],
    ids=["min_max", "rrf"],
)
def test_hybrid_search_fuses_in_one_request(index: str, processor: dict[str, Any]) -> None:
    body = {
        "query": {"hybrid": {"queries": [{"match": {"text": "2"}}, knn([1, 0, 0.1])]}},
        "search_pipeline": {"phase_results_processors": [processor]},
    }
    found = hits(ask(f"{index}/_search", "POST", body))
    assert set(found) == {"1", "2", "3"}
    assert found.index("2") < 2, "last by vector alone: its text must lift it"


def test_data_survive_a_restart_and_damaged_data_show_the_log(tmp_path: Path) -> None:
    with LocalOpenSearch(data=tmp_path, memory="256m") as server:
        fill(server.url, "kept")
        (pid,) = server.pids
        home = server.nodes[0].spec.home
        with pytest.raises(LocalServerError, match=f"port .* in use by process {pid}"):
            LocalOpenSearch(port=server.nodes[0].port).start()
    assert not psutil.pid_exists(pid)
    assert not home.exists()
    with LocalOpenSearch(data=tmp_path, memory="256m") as server:
        wait_until(lambda: ask(f"{server.url}/kept/_count")["count"] == 3, 20, "the recovery")
    with pytest.raises(LocalServerError, match="--nodes 1"):
        LocalOpenSearch(data=tmp_path, nodes=3).start()

    for path in tmp_path.glob("node-1/nodes/0/_state/*"):
        path.write_bytes(b"damaged")
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("cl-haystack-opensearch-*"))
    with pytest.raises(LocalServerError) as caught:
        LocalOpenSearch(data=tmp_path, memory="256m").start()
    assert "ended with status 1" in str(caught.value)
    assert "OpenSearch did not start: " in str(caught.value).splitlines()[-1]
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("cl-haystack-opensearch-*")) <= before


def test_no_server_survives_its_killed_owner() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, home = owner.stdout.readline().split()
        assert psutil.pid_exists(int(pid))
        owner.kill()
    wait_until(lambda: not psutil.pid_exists(int(pid)), 30, "the end of the server")
    assert not Path(home).parent.exists(), "its temporary data must go with it"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_interrupted_leaves_nothing(sent: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as owner:
        me = psutil.Process(owner.pid)
        wait_until(lambda: any("java" in child.name() for child in me.children()), 30, "the start of Java")
        (child,) = me.children()
        owner.send_signal(sent)
        owner.communicate(timeout=30)
    assert owner.returncode != 0
    wait_until(lambda: not child.is_running(), 30, "the end of the server")
    assert list(tmp_path.glob("cl-haystack-opensearch-*")) == []


def test_the_java_of_the_wheel_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(java, "USUAL_FOLDERS", ())
    with LocalOpenSearch(memory="256m") as server:
        assert server.nodes[0].runtime.java.home == java.packaged_home()
        fill(server.url, "thai-locale-is-missing-there")  # an index is what fails without our analysis plugin
        found = ask(f"{server.url}/_search", "POST", {"query": knn([1, 0, 0.1])})
    assert hits(found)[0] == "1"


@pytest.mark.slow
def test_the_older_version_boots_and_searches() -> None:
    with LocalOpenSearch(version="2.19.6", memory="256m") as server:
        assert ask(server.url)["version"]["number"] == server.version == "2.19.6"
        fill(server.url, "old")
        filtered = knn([0, 1, 0.1], k=1, filter={"term": {"kind": "odd"}})
        assert hits(ask(f"{server.url}/old/_search", "POST", {"query": filtered})) == ["3"]
        body = {
            "query": {"hybrid": {"queries": [{"match": {"text": "2"}}, knn([1, 0, 0.1])]}},
            "search_pipeline": {"phase_results_processors": [{"normalization-processor": {}}]},
        }
        assert set(hits(ask(f"{server.url}/old/_search", "POST", body))) == {"1", "2", "3"}


@pytest.mark.long
def test_three_nodes_keep_the_data_when_one_is_killed() -> None:
    with LocalOpenSearch(nodes=3) as server:
        first, second, third = server.urls
        assert ask(f"{first}/_cluster/health")["number_of_nodes"] == 3
        settings = {"number_of_shards": 1, "number_of_replicas": 2}
        ask(f"{first}/safe", "PUT", {"settings": settings})
        ask(f"{first}/safe/_doc/1?refresh=true", "PUT", {"text": "kept"})
        health = ask(f"{first}/_cluster/health/safe?wait_for_status=green&timeout=60s")
        assert (health["status"], health["active_shards"]) == ("green", 3)

        victim = server.nodes[0]
        victim.kill()
        assert not victim.is_running
        reduced = ask(f"{second}/_cluster/health?wait_for_nodes=2&timeout=60s")
        assert reduced["number_of_nodes"] == 2
        assert hits(ask(f"{third}/safe/_search"))[0] == "1"
        ask(f"{second}/safe/_doc/2?refresh=true", "PUT", {"text": "written meanwhile"})

        victim.start()
        server.wait_until_ready()
        assert victim.url == first, "it keeps its address"
        healed = ask(f"{first}/_cluster/health/safe?wait_for_status=green&timeout=90s")
        assert healed["status"] == "green"
        assert ask(f"{first}/safe/_count")["count"] == 2
