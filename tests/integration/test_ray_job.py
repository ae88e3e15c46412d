"""The indexing job on Ray: same documents, same report, whoever dies in the middle."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.errors import ConfigurationError, IndexingError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.indexing.first_load import RECORD_KEY
from cl_haystack.opensearch.indexing.ray_jobs import index_with_ray
from cl_haystack.progress import Progress
from tests.ray_worker import open_worker

pytest.importorskip("ray", reason="needs the extra [ray]")
pytestmark = [
    pytest.mark.integration,
    # Ray 2.60 leaves sockets and files of its own to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray", "ignore::DeprecationWarning"),
]

MakeIndex = Callable[..., OpenSearchIndex]
REPOSITORY = Path(__file__).parents[2]
COUNT = 400


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    lines = [{"_id": f"d{number}", "text": f"text number {number}", "n": number} for number in range(COUNT)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.fixture
def python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # workers import tests.ray_worker
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def two_nodes(python_path: None) -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
        shutdown_at_exit=True,
    )
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def contents(index: OpenSearchIndex) -> dict[str, Any]:
    body = {"query": {"match_all": {}}, "size": 10_000}
    hits = index.connection.client().search(index=index.name, body=body)["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def settings_of(index: OpenSearchIndex) -> tuple[str | None, bool]:
    entry = index.connection.client().indices.get(index=index.name)[index.name]
    return entry["settings"]["index"].get("refresh_interval"), RECORD_KEY in entry["mappings"]["_meta"]


def check(index: OpenSearchIndex) -> None:
    stored = contents(index)
    assert {name: source["content"] for name, source in stored.items()} == {
        f"d{number}": f"text number {number}" for number in range(COUNT)
    }
    assert settings_of(index) == (None, False)


@pytest.mark.slow
def test_parts_end_up_in_the_index_and_their_reports_in_one(
    make_index: MakeIndex, opensearch_url: str, corpus: Path, tmp_path: Path, python_path: None
) -> None:
    with corpus.open("a") as file:
        file.write(json.dumps({"_id": "poison", "text": "x", "n": "no number"}) + "\nno json\n")
    index = make_index(settings={"number_of_replicas": 0})
    letters = tmp_path / "dead.jsonl"
    steps: list[Progress] = []
    job = partial(
        index_with_ray,
        corpus,
        index,
        workers=2,
        part_bytes=3_000,
        dead_letters=letters,
        open_worker=partial(open_worker, opensearch_url, index.name, tmp_path),
    )
    import ray

    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        report = job(on_progress=steps.append)
        counts = (report.read, report.written, report.rejected, report.embedded)
        assert counts == (COUNT + 2, COUNT, 2, COUNT + 1)
        refused = {"poison", f"corpus.jsonl:{COUNT + 2}"}
        assert {rejection.id for rejection in report.rejections} == refused
        assert {json.loads(line)["id"] for line in letters.read_text().splitlines()} == refused
        check(index)
        assert steps[-1].done == steps[-1].total == COUNT + 2
        assert len(steps) > 5
        again = job()
        assert (again.skipped, again.written, again.rejected) == (COUNT, 0, 2)
        corpus.write_text('{"_id": "a", "text": "fine"}\n' + "no json\n")
        with pytest.raises(IndexingError, match=r"corpus\.jsonl:2: "):
            job(dead_letters=None)
        assert settings_of(index) == (None, False)
    finally:
        ray.shutdown()


@pytest.mark.long
def test_a_worker_that_is_killed_loses_nothing(
    make_index: MakeIndex, opensearch_url: str, corpus: Path, tmp_path: Path, two_nodes: Any
) -> None:
    index = make_index(settings={"number_of_replicas": 0})
    opened = partial(open_worker, opensearch_url, index.name, tmp_path, deaths=2)
    report = index_with_ray(corpus, index, part_bytes=3_000, open_worker=opened)
    assert {path.name for path in tmp_path.glob("death-*")} == {"death-0", "death-1"}
    assert report.read == COUNT == report.written + report.skipped
    check(index)
    lines = (tmp_path / "embedded.txt").read_text().splitlines()
    assert len({line.split()[0] for line in lines}) >= 3  # processes: those that died, and others
    assert len(lines) < COUNT + 2 * 100  # only the parts in hand were embedded again


@pytest.mark.long
def test_a_node_that_goes_away_loses_nothing(
    make_index: MakeIndex, opensearch_url: str, corpus: Path, tmp_path: Path, two_nodes: Any
) -> None:
    index = make_index(settings={"number_of_replicas": 0})
    import ray

    log, head = tmp_path / "embedded.txt", ray.get_runtime_context().get_node_id()

    def nodes_at_work() -> set[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        return {line.split()[1] for line in lines}

    def remove() -> None:
        while not nodes_at_work() - {head}:
            time.sleep(0.05)
        (node,) = two_nodes.worker_nodes
        two_nodes.remove_node(node, allow_graceful=False)

    removing = threading.Thread(target=remove, daemon=True)
    removing.start()
    opened = partial(open_worker, opensearch_url, index.name, tmp_path, num_nodes=2)
    report = index_with_ray(corpus, index, part_bytes=1_500, open_worker=opened)
    removing.join(30)
    assert len(nodes_at_work()) == 2
    assert [node["NodeID"] for node in ray.nodes() if node["Alive"]] == [head]
    assert report.read == COUNT == report.written + report.skipped
    check(index)


def test_what_cannot_be_repeated_by_parts_is_refused(make_index: MakeIndex, corpus: Path) -> None:
    with pytest.raises(ConfigurationError, match="policy is FAIL"):
        index_with_ray(corpus, make_index(), policy=DuplicatePolicy.FAIL)
