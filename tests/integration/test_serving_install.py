"""The serving-only install: built as a wheel, put into an environment of its own, used without torch.

Prints its size and the time from a cold start to the first vector.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(600)]

COLD_START = """\
import time
started = time.perf_counter()
from cl_haystack import Encoder
vector = Encoder.load("bundle").encode_queries(["how do I merge two sorted lists"])[0]
print(f"{time.perf_counter() - started:.2f}")
assert vector.shape == (384,)
"""

PIPELINE = """\
from haystack import Pipeline
import sys
pipeline = Pipeline.load(open("rag.yaml"))
question = "which structure gives me the minimum quickly?"
inputs = {"embedder": {"text": question}, "retriever": {"query": question}, "prompt": {"question": question}}
print(pipeline.run(inputs)["prompt"]["prompt"])
forbidden = {"torch", "transformers", "optimum"}
assert not forbidden & {name.partition(".")[0] for name in sys.modules}
"""

WRITE = """\
from haystack import Document
from cl_haystack import CLOpenSearchWriter, OpenSearchIndex
texts = ["The heap keeps its smallest element first.", "A tuple cannot be changed."]
writer = CLOpenSearchWriter(OpenSearchIndex(None, "articles", "bundle"))
print(writer.run([Document(content=text) for text in texts]))
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment with the wheel and the extra [cpu] alone."""
    folder = tmp_path_factory.mktemp("serving")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(REPOSITORY)], check=True)
    (wheel,) = folder.glob("cl_haystack-*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    install = ["install", "--constraint", str(REPOSITORY / "constraints.txt"), f"{wheel}[cpu]"]
    subprocess.run([*pip, "--python", str(python), *install], check=True)
    return python


def run(python: Path, code: str, folder: Path, url: str = "") -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | ({"OPENSEARCH_URL": url} if url else {})
    finished = subprocess.run(
        [python, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_no_training_stack_is_installed(serving: Path, tmp_path: Path) -> None:
    names = run(
        serving, "import importlib.metadata as m; print(*[d.name for d in m.distributions()])", tmp_path
    )
    installed = set(names.lower().split())
    assert {"cl-haystack", "onnxruntime", "haystack-ai"} <= installed
    assert not installed & {"torch", "transformers", "optimum", "sentence-transformers", "datasets", "scipy"}


def test_size_and_cold_start(
    serving: Path, base_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [file for file in serving.parent.parent.rglob("*") if file.is_file() and not file.is_symlink()]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    (tmp_path / "bundle").symlink_to(base_bundle, target_is_directory=True)
    seconds = min(float(run(serving, COLD_START, tmp_path)) for _ in range(3))
    with capsys.disabled():
        sys.stdout.write(f"\nserving install: {megabytes:.0f} MB; import to first vector: {seconds:.2f} s\n")
    assert megabytes < 400
    assert seconds < 10


def test_shipped_pipeline_runs(serving: Path, base_bundle: Path, opensearch_url: str, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(base_bundle, target_is_directory=True)
    (tmp_path / "rag.yaml").symlink_to(REPOSITORY / "examples" / "pipelines" / "rag.yaml")
    try:
        assert "2" in run(serving, WRITE, tmp_path, opensearch_url)
        prompt = run(serving, PIPELINE, tmp_path, opensearch_url)
    finally:
        from opensearchpy import OpenSearch

        OpenSearch(opensearch_url).indices.delete(index="articles", ignore_unavailable=True)
    assert "[1] The heap keeps its smallest element first." in prompt


def test_training_names_its_extra(serving: Path, tmp_path: Path) -> None:
    code = "try:\n import cl_haystack.training\nexcept Exception as error: print(error)"
    assert "pip install 'cl-haystack[train]'" in run(serving, code, tmp_path)
