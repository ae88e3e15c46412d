"""The demo as its user runs it: from a corpus to a verdict, reused, interrupted, gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest

from cl_haystack.bundle import ModelBundle
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.training.checkpoint import read_layout

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(600)]

COMMAND = [str(Path(sys.executable).parent / "cl-haystack"), "demo"]
STEPS = 11
NEVER_REUSED = 3  # verifying the bundle, the server, the pipelines
VERDICTS = (
    "tuned is better than base",
    "tuned is worse than base",
    "tuned cannot be distinguished from base",
)
TRAINING, INDEXING = " 4. ", " 8. "


@pytest.fixture(scope="module")
def corpus(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own corpus: 80 titled documents."""
    file = tmp_path_factory.mktemp("demo") / "corpus.jsonl"
    with file.open("wb") as lines:
        for document in read_stdlib_docstrings()[:1200:15]:
            record = {"_id": document.name, "title": document.summary, "text": document.body}
            lines.write(orjson.dumps(record) + b"\n")
    return file


def start(corpus: Path, out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "--docs", str(corpus), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
        start_new_session=True,
    )


def servers_of(folder: Path) -> list[psutil.Process]:
    """Return the Java processes that work on a folder's data."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "java":
            try:
                files = [Path(argument[1:]) for argument in process.cmdline() if argument.startswith("@")]
                if any(str(folder) in file.read_text() for file in files if file.exists()):
                    found.append(process)
            except psutil.Error:
                continue
    return found


def interrupt(corpus: Path, out: Path, step: str) -> None:
    """Run the demo until it announces a step, press Ctrl-C, and look at what is left."""
    process = start(corpus, out)
    assert process.stdout is not None
    for printed in process.stdout:
        if printed.startswith(step):
            break
    os.killpg(process.pid, signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert not servers_of(out)
    assert not [path.name for path in out.iterdir() if path.name.startswith((".bundle", ".checkpoint"))]
    for bundle in out.glob("bundle-*"):
        ModelBundle.load(bundle)


@pytest.mark.long
def test_interrupted_twice_then_to_a_verdict_and_again(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupt(corpus, out, TRAINING)
    assert not (out / "checkpoint").exists()
    interrupt(corpus, out, INDEXING)

    first, _ = start(corpus, out).communicate(timeout=500)
    assert f"{STEPS}. " in first, first
    assert "tuned hybrid" in first
    verdict = next(line for line in first.splitlines() if line.startswith(VERDICTS))
    systems = ("base ", "tuned ", "BM25 ")
    rows = [line for line in first.splitlines() if line.startswith(systems) and " [" in line]
    assert len(rows) == 4
    assert all(len(row) <= 80 for row in rows)
    bundle = ModelBundle.load(out / "bundle-tuned")
    assert bundle.manifest.training["num_pairs"] == read_layout(out / "checkpoint").training["num_pairs"]
    report = (out / "report.html").read_text()
    assert "<svg" in report
    assert 'src="http' not in report
    assert not servers_of(out)

    started = time.perf_counter()
    second, _ = start(corpus, out).communicate(timeout=300)
    assert second.count("reused") == STEPS - NEVER_REUSED, second
    assert time.perf_counter() - started < 120
    assert verdict in second
    assert not servers_of(out)


def test_no_training_question_is_asked(corpus: Path, tmp_path: Path) -> None:
    from cl_haystack.data import read_beir, read_pairs
    from cl_haystack.demo.collection import read_headed_texts, write_collection

    counts = write_collection(read_headed_texts(corpus), tmp_path)
    task, pairs = read_beir(tmp_path, "test"), list(read_pairs(tmp_path / "pairs.jsonl"))
    assert (len(pairs), len(task.queries)) == (counts.pairs, counts.questions)
    trained = {pair.source for pair in pairs}
    judged = {document for grades in task.qrels.values() for document in grades}
    assert trained.isdisjoint(judged)
    assert {pair.anchor.casefold() for pair in pairs}.isdisjoint(q.casefold() for q in task.queries.values())
    contents = {document.id: document.content for document in task.corpus()}
    assert trained | judged <= contents.keys()
    for query, grades in task.qrels.items():
        for document in grades:
            assert not contents[document].startswith(task.queries[query])


@pytest.mark.long
def test_two_runs_in_one_folder_do_not_fight(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start(corpus, out)
    assert first.stdout is not None
    next(iter(first.stdout))
    second = start(corpus, out)
    try:
        assert "is in use by another run" in second.communicate(timeout=120)[0]
        assert second.returncode == 1
    finally:
        os.killpg(first.pid, signal.SIGINT)
        first.communicate(timeout=60)
