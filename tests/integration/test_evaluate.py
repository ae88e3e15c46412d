"""``cl-haystack evaluate --index`` against a real server."""

import json
import subprocess
import sys

import pytest

from tests.unit.cli.test_evaluate import bundle, checkpoint, task_directory

__all__ = ["bundle", "checkpoint", "task_directory"]

RUN = "from cl_haystack.cli.main import main; main()"

pytestmark = pytest.mark.integration


def cli(*arguments):
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def indexed(opensearch_url, index_name, bundle, task_directory):
    done = cli(
        "index", bundle, task_directory / "corpus.jsonl", "--index", index_name, "--url", opensearch_url
    )
    assert done.returncode == 0, done.stderr
    return ("--index", index_name, "--url", opensearch_url)


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_an_index_is_evaluated(indexed, bundle, task_directory, mode):
    done = cli("evaluate", bundle, task_directory, *indexed, "--mode", mode, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["num_queries"] == 10
    assert found["latency"]["p99_ms"] >= found["latency"]["p95_ms"] >= found["latency"]["p50_ms"] > 0
    assert found["system"].startswith(f"{mode} in index ")
    if mode == "bm25":  # each question's word stands three times in its document
        assert found["metrics"]["mrr@10"] > 0.8
    else:
        assert found["metrics"]["recall@100"] == 1


def test_filters_go_into_every_search(indexed, bundle, task_directory, tmp_path):
    filters = json.dumps({"field": "meta.title", "operator": "==", "value": "the cat cat"})  # d0 alone
    options = ("--mode", "hybrid", "--filters", filters, "--save-run", tmp_path / "run.trec")
    done = cli("evaluate", bundle, task_directory, *indexed, *options, "--json")
    assert done.returncode == 0, done.stderr
    assert {line.split()[2] for line in (tmp_path / "run.trec").read_text().splitlines()} == {"d0"}
    assert json.loads(done.stdout)["metrics"]["recall@10"] == pytest.approx(0.1)


def test_dense_search_of_the_index_equals_the_exact_one(indexed, bundle, task_directory):
    done = cli("evaluate", bundle, task_directory, *indexed, "--baseline", bundle, "--json")
    found = json.loads(done.stdout)
    assert found["metrics"] == pytest.approx(found["baseline"]["metrics"])
    assert found["comparison"]["verdict"] == "not distinguishable"


def test_an_index_that_does_not_hold_the_corpus_is_said(indexed, bundle, task_directory, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(task_directory, other)
    with (other / "corpus.jsonl").open("a") as file:
        file.write('\n{"_id": "new", "text": "new"}')
    done = cli("evaluate", bundle, other, *indexed, "--json")
    assert "holds 10 documents, the corpus 11" in " ".join(done.stderr.split())
    assert json.loads(done.stdout)["num_queries"] == 10


def test_an_index_that_is_not_there_is_said(opensearch_url, index_name, bundle, task_directory):
    done = cli("evaluate", bundle, task_directory, "--index", index_name, "--url", opensearch_url)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert index_name in done.stderr
    assert "Traceback" not in done.stderr
