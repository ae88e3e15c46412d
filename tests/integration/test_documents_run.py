"""Every code block of the README and every example runs as it is printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml
from opensearchpy import OpenSearch

from cl_haystack.data.stdlib_docs import read_stdlib_docstrings

pytestmark = pytest.mark.timeout(600)  # a walk-through trains, exports and starts a server

REPOSITORY = Path(__file__).parent.parent.parent
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
SHELL_BLOCKS = [code for language, code in BLOCKS if language == "bash"]
PYTHON_BLOCKS = [code for language, code in BLOCKS if language == "python"]


def run(command: list[str], folder: Path, **environment: str | None) -> str:
    """Run a command as a user would, with the tools of this environment first on PATH."""
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for name, value in environment.items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value
    finished = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{command}\n{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"
    return finished.stdout


def test_every_block_of_the_readme_is_covered() -> None:
    assert {language for language, _ in BLOCKS} == {"bash", "python"}
    assert len(PYTHON_BLOCKS) == 1
    assert [code.split()[0] for code in SHELL_BLOCKS] == ["make", "make", "cl-haystack"]


@pytest.mark.parametrize("block", [code for code in SHELL_BLOCKS if code.startswith("make")])
def test_make_knows_the_verbs_of_the_readme(block: str) -> None:
    commands = run(["make", "--dry-run", "--always-make", *block.split()[1:]], REPOSITORY)
    assert "install --constraint constraints.txt" in commands


@pytest.mark.integration
@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_pipeline_of_the_readme(
    block: str, base_bundle: Path, tmp_path: Path, opensearch_url: str, clean_index: None
) -> None:
    (tmp_path / "bundle").symlink_to(base_bundle, target_is_directory=True)
    out = run([sys.executable, "-c", block], tmp_path, OPENSEARCH_URL=opensearch_url)
    assert out.strip() == "The heap keeps its smallest element first."
    # The shipped YAML asks the same index, loaded where nothing of ours is imported.
    shutil.copy(REPOSITORY / "examples" / "pipelines" / "rag.yaml", tmp_path)
    program = (
        "from haystack import Pipeline\n"
        "pipeline = Pipeline.load(open('rag.yaml'))\n"
        "question = 'which structure gives me the minimum quickly?'\n"
        "answer = pipeline.run({'embedder': {'text': question}, 'retriever': {'query': question},"
        " 'prompt': {'question': question}})\n"
        "print(answer['prompt']['prompt'])"
    )
    prompt = run([sys.executable, "-c", program], tmp_path, OPENSEARCH_URL=opensearch_url)
    assert "[1] The heap keeps its smallest element first." in prompt
    assert "which structure gives me the minimum quickly?" in prompt


@pytest.mark.integration
def test_the_integration_page(
    base_bundle: Path, tmp_path: Path, opensearch_url: str, clean_index: None
) -> None:
    """The page is YAML and the sections that Haystack's directory asks for; its example runs."""
    page = (REPOSITORY / "docs" / "integration.md").read_text()
    _, described, text = page.split("---\n", 2)
    assert {"layout", "name", "description", "authors", "pypi", "repo", "type", "version", "toc"} <= set(
        yaml.safe_load(described)
    )
    assert re.findall(r"^## (\w+)", text, re.MULTILINE) == ["Overview", "Installation", "Usage", "License"]
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    client = OpenSearch(opensearch_url)
    client.indices.delete(index="articles", ignore_unavailable=True)  # the README's, with the same name
    client.close()
    (tmp_path / "bundle").symlink_to(base_bundle, target_is_directory=True)
    out = run([sys.executable, "-c", block], tmp_path, OPENSEARCH_URL=opensearch_url)
    assert out.strip() == "My name is Wolfgang and I live in Berlin"


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("block", [code for code in SHELL_BLOCKS if code.startswith("cl-haystack")])
def test_walk_through_of_the_readme(
    block: str, base_model: Path, opensearch_url: str, tmp_path: Path
) -> None:
    documents = [d for d in read_stdlib_docstrings() if d.module in {"heapq", "json", "bisect"}]
    with (tmp_path / "corpus.jsonl").open("wb") as file:
        for document in documents:
            record = {"_id": document.name, "title": document.summary, "text": document.body}
            file.write(orjson.dumps(record) + b"\n")
    private = {name: str(tmp_path / name) for name in ("XDG_STATE_HOME", "XDG_DATA_HOME")}
    script = f"set -euo pipefail\ntrap 'cl-haystack opensearch stop' ERR\n{block}"
    out = run(["bash", "-c", script], tmp_path, OPENSEARCH_URL=None, **private)
    assert "heapq.merge" in out.split("score", 1)[1]
    assert (tmp_path / "bundle" / "manifest.json").exists()
    assert "false" in run(["cl-haystack", "opensearch", "status", "--json"], tmp_path, **private)


@pytest.fixture(scope="module")
def examples_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples: each goes on with what the one before has made."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize(
    "example", sorted((REPOSITORY / "examples").glob("*.py")), ids=lambda path: path.name
)
def test_examples_run_in_order(
    example: Path, examples_folder: Path, base_model: Path, opensearch_url: str, clean_index: None
) -> None:
    out = run([sys.executable, str(example)], examples_folder, OPENSEARCH_URL=opensearch_url).strip()
    assert out
    if example.name == "12_rest.py":  # without Hayhooks it tells how to install it
        assert out.startswith("['heapq."), out


@pytest.fixture(scope="module")
def clean_index(opensearch_url: str):
    """Remove the indices that README and examples name, before and after."""
    client = OpenSearch(opensearch_url)
    names = ["articles", "stdlib", "files"]
    client.indices.delete(index=names, ignore_unavailable=True)
    yield
    client.indices.delete(index=names, ignore_unavailable=True)
    client.close()
