"""The package for ml-commons on a real server with the plugin: registered, deployed, asked for vectors."""

import functools
import http.server
import json
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opensearchpy import OpenSearch

from cl_haystack.encoder import Encoder
from cl_haystack.errors import DownloadError
from cl_haystack.export import export_bundle
from tests.ml_commons_server import ml_commons_jars, ml_commons_server

pytestmark = [pytest.mark.integration, pytest.mark.long]

SETTINGS = {
    "plugins.ml_commons.allow_registering_model_via_url": True,
    "plugins.ml_commons.only_run_on_ml_node": False,
    "plugins.ml_commons.native_memory_threshold": 100,
    "plugins.ml_commons.jvm_heap_memory_threshold": 100,
}
TEXTS = [
    "the cat sat on the mat",
    "What is the boiling point of water?",
    "",
    "a long text about many things " * 80,
    "naïve café 日本語",
]


class Cluster:
    """The three requests with which an operator brings a model to a cluster."""

    def __init__(self, url: str) -> None:
        self.client = OpenSearch(url, timeout=120)
        self.client.cluster.put_settings(body={"persistent": SETTINGS})

    def request(self, method: str, path: str, body: object = None) -> Any:
        return self.client.transport.perform_request(method, f"/_plugins/_ml/{path}", body=body)

    def wait(self, task: dict[str, Any]) -> str:
        deadline = time.monotonic() + 240
        while (state := self.request("GET", f"tasks/{task['task_id']}"))["state"] in ("CREATED", "RUNNING"):
            assert time.monotonic() < deadline, state
            time.sleep(0.5)
        assert state["state"] == "COMPLETED", state
        return str(state["model_id"])

    def embed(self, registration: object) -> np.ndarray[Any, Any]:
        model = self.wait(self.request("POST", "models/_register", registration))
        self.wait(self.request("POST", f"models/{model}/_deploy"))
        asked = {"text_docs": TEXTS, "return_number": True, "target_response": ["sentence_embedding"]}
        answer = self.request("POST", f"_predict/text_embedding/{model}", asked)
        return np.array([result["output"][0]["data"] for result in answer["inference_results"]])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the native libraries that the test fetches are those of Linux on x86-64")
    try:
        jars = ml_commons_jars()
    except DownloadError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch, ml_commons_server(jars, patch) as url:
        yield Cluster(url)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Address of a web server that offers the test's folder, as a cluster fetches packages from one."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("precision", "cosine"), [("fp32", 0.999999), ("int8", 0.999)])
def test_a_cluster_gives_the_vectors_of_the_bundle(
    base_model: Path, tmp_path: Path, cluster: Cluster, web: str, precision: Any, cosine: float
) -> None:
    package = tmp_path / f"{precision}.zip"
    bundle = export_bundle(base_model, tmp_path / "bundle", precision=precision, ml_commons=package)
    registration = json.loads(package.with_suffix(".json").read_text())
    vectors = cluster.embed({**registration, "url": f"{web}/{package.name}"})
    expected = Encoder.load(bundle).encode_documents(TEXTS)
    assert vectors.shape == expected.shape
    assert (vectors * expected).sum(axis=1).min() >= cosine
