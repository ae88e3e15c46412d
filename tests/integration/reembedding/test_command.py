"""``cl-haystack reembed`` with real models."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from haystack import Pipeline
from typer.testing import CliRunner

from cl_haystack.cli.main import app
from cl_haystack.errors import SpaceMismatchError
from cl_haystack.opensearch import OpenSearchIndex, WhicheverFits
from haystack_integrations.components.retrievers.cl_haystack import CLOpenSearchRetriever
from tests.reembedding_site import Site

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real bundles of two models side by side: two random initialisations of one tiny architecture."""
    from cl_haystack.export import export_bundle
    from tests.tiny_model import make_tiny_checkpoint

    folder = tmp_path_factory.mktemp("bundles")
    for seed, name in enumerate(("present", "next")):
        checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp(name), seed=seed)
        export_bundle(checkpoint, folder / name, name=name)
    return folder


@pytest.fixture
def task_directory(tmp_path: Path) -> Path:
    """Five words in every order; each text is the question that its own document answers."""
    texts = [" ".join(words) for words in itertools.permutations(["cat", "dog", "red", "blue", "house"], 2)]
    lines = [json.dumps({"_id": f"d{number}", "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "qrels").mkdir()
    for name in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / name).write_text("\n".join(lines))
    judged = [f"d{number}\td{number}\t1" for number in range(len(texts))]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return tmp_path


def retrieving(index: OpenSearchIndex) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("retriever", CLOpenSearchRetriever(index))
    return pipeline


@pytest.mark.slow
def test_the_command_with_real_models(site: Site, bundles: Path, task_directory: Path) -> None:
    present, following = (str(bundles / name) for name in ("present", "next"))

    def run(*arguments: str, status: int = 0) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--url", site.url, "--json"])
        assert done.exit_code == status, (done.output, done.exception)
        return json.loads(done.stdout)

    run("index", present, str(task_directory / "corpus.jsonl"), "--index", site.alias)
    made = run("reembed", "--alias", site.alias, "--make-alias")
    assert site.leads_to() == [made["index"]]
    search = WhicheverFits([retrieving(site.open(present)).run, retrieving(site.open(following)).run])
    question: dict[str, Any] = {"retriever": {"query": "cat dog"}}
    before = search(question)["retriever"]["documents"][0]
    options = ["reembed", "--alias", site.alias, "--bundle", following, "--gate", str(task_directory)]
    refused = run(*options, "--min-gain", "0.5", "--remove-refused", status=3)
    assert (refused["moved"], refused["removed"], refused["gate"]["passed"]) == (False, True, False)
    assert refused["gate"]["num_queries"] == 20  # the present bundle was found beside the next one
    moved = run(*options, "--min-gain", "-1")
    assert (moved["moved"], moved["documents"], moved["sampled"]) == (True, 20, 20)
    assert site.leads_to() == [moved["new"]]
    assert run("query", following, "cat dog", "--index", site.alias, "--top-k", "1")
    assert search(question)["retriever"]["documents"][0].id == before.id
    with pytest.raises(SpaceMismatchError):
        retrieving(site.open(present)).run(question)
    assert run(*options)["needless"]
    back = run("reembed", "--alias", site.alias, "--rollback")
    assert (back["old"], back["differing"]) == (made["index"], 0)
    alone = task_directory / "elsewhere" / "next"
    shutil.copytree(following, alone)
    refusal = CliRunner().invoke(app, [*options[:4], str(alone), *options[5:], "--url", site.url])
    assert "name it with --old-bundle" in str(refusal.exception)
    usage = CliRunner().invoke(app, ["reembed", "--alias", site.alias])
    assert (usage.exit_code, "give one of --bundle, --rollback" in usage.output) == (2, True)
