"""``train`` from the command line, with a tiny, senseless model."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cl_haystack.cli.train import _draw as draw
from cl_haystack.data import read_corpus, read_pairs
from cl_haystack.training import ContrastiveTrainer, Recipe, TrainingConfig
from cl_haystack.training.checkpoint import read_layout
from tests.unit.cli.test_evaluate import checkpoint, run, task_directory

__all__ = ["checkpoint", "run", "task_directory"]


@pytest.fixture
def files(task_directory, tmp_path):
    """Pairs, corpus, and where the checkpoint goes."""
    corpus = [json.loads(line) for line in (task_directory / "corpus.jsonl").read_text().splitlines()]
    pairs = tmp_path / "pairs.jsonl"
    rows = [
        {"anchor": d["title"], "positive": d["title"] + " " + d["text"], "negative": f"not {d['_id']}"}
        for d in corpus
    ]
    pairs.write_text("\n".join(map(json.dumps, rows)))
    return pairs, task_directory / "corpus.jsonl", tmp_path / "out" / "tuned"


def test_flags_go_before_the_file(run, checkpoint, files, tmp_path):
    pairs, _, out = files
    options = tmp_path / "train.yaml"
    options.write_text("num_epochs: 2\nbatch_size: 5\nlearning_rate: 1.0e-3\n")
    flags = ("--config", options, "--batch-size", "4", "--scale", "10", "--licence", "CC0-1.0")
    found = json.loads(run("train", pairs, "--model", checkpoint, "-o", out, *flags, "--json"))
    assert found["report"]["steps"] == 2 * 3
    record = read_layout(out).training
    assert record["hyperparameters"]["learning_rate"] == 1e-3
    assert record["hyperparameters"]["batch_size"] == 4
    assert record["loss"]["scale"] == 10
    assert record["datasets"][0]["licence"] == "CC0-1.0"
    assert record["scores"][0]["positives"]["mean"] <= 1
    assert [path.name for path in out.parent.iterdir()] == ["tuned"]  # no state is left behind


def test_pairs_alone_get_negatives_from_each_other(checkpoint, files, monkeypatch, capsys):
    from cl_haystack.cli.main import main

    pairs, _, out = files
    alone = [json.loads(line) for line in pairs.read_text().splitlines()]
    pairs.write_text("\n".join(json.dumps({n: row[n] for n in ("anchor", "positive")}) for row in alone))
    arguments = ["train", pairs, "--model", checkpoint, "-o", out, "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["cl-haystack", *map(str, arguments)])
    with pytest.raises(SystemExit):
        main()
    assert "pairs out of 10 texts" in " ".join(capsys.readouterr().err.split())
    assert read_layout(out).training["num_pairs"] == 10


def test_documents_give_negatives_and_pairs(run, checkpoint, files):
    pairs, corpus, out = files
    drawn = ("--corpus", corpus, "--draw", "title")
    run("train", pairs, "--model", checkpoint, "-o", out, *drawn, "--epochs", "1")
    datasets = read_layout(out).training["datasets"]
    assert [dataset["path"] for dataset in datasets] == ["pairs.jsonl", "corpus.jsonl"]
    assert [dataset["num_pairs"] for dataset in datasets] == [10, 10]


def test_pairs_made_of_documents_get_negatives_too(checkpoint, files):
    pairs, corpus, out = files
    given, documents = list(read_pairs(pairs)), list(read_corpus(corpus))
    trainer = ContrastiveTrainer(checkpoint, config=TrainingConfig(batch_size=4))
    recipe = Recipe(methods=("title",), relative_margin=0.0)
    draw(given, documents, recipe.pairs_of(documents), trainer, recipe, out)
    made = list(read_pairs(out / "corpus.jsonl"))
    assert len(made) == len(documents)
    assert any(pair.negatives for pair in made)
    own_text = {document.title: document.content for document in documents}
    assert all(own_text[pair.anchor] not in pair.negatives for pair in made)
    assert len(list(read_pairs(out / "pairs.jsonl"))) == len(given)


def test_the_model_is_measured_and_the_overlap_told(checkpoint, files, task_directory, monkeypatch, capsys):
    from cl_haystack.cli.main import main

    pairs, _, out = files
    arguments = ["train", pairs, "--model", checkpoint, "-o", out, "--eval", task_directory]
    arguments += ["--eval-split", "test", "--epochs", "3", "--batch-size", "4"]
    monkeypatch.setattr(sys, "argv", ["cl-haystack", *map(str, arguments)])
    with pytest.raises(SystemExit):
        main()
    told = " ".join(capsys.readouterr().err.split())
    assert "10 have a relevant document that is the positive of a training pair" in told
    assert "nDCG@10 during training:" in told
    evaluations = read_layout(out).training["evaluations"]
    assert len(evaluations) >= 3
    assert all(0 <= found["ndcg@10"] <= 1 for found in evaluations)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--loss", "infnce"), "loss is 'infnce', expected one of infonce"),
        (("--loss", "cosent"), "which the loss cosent"),
        (("--loss", "cosine", "--scale", "3"), "no option 'scale'"),
        (("--lr", "-1"), "learning_rate is -1"),
        (("--draw", "title"), "give them with --corpus"),
        (("--device", "cuda:9"), "device is 'cuda:9'"),
        (("--max-length", "9000"), "has positions for 64"),
    ],
)
def test_wrong_use_gets_one_line_and_writes_nothing(run, checkpoint, files, flags, message):
    pairs, _, out = files
    told = run("train", pairs, "--model", checkpoint, "-o", out, *flags, status=1)
    assert message in told
    assert len(told.splitlines()) == 1
    assert not out.exists()


def test_a_folder_that_is_no_checkpoint_is_not_replaced(run, checkpoint, files, tmp_path):
    pairs, _, _ = files
    assert "is not a checkpoint" in run("train", pairs, "--model", checkpoint, "-o", tmp_path, status=1)
    assert list(read_pairs(pairs))


@pytest.mark.slow
def test_an_interrupted_command_goes_on_to_the_same_checkpoint(checkpoint, files):
    pairs, _, out = files
    state = out.with_name("tuned.training")
    command = [sys.executable, "-m", "cl_haystack", "train", pairs, "--model", checkpoint, "--epochs", "100"]
    command = [*map(str, command), "--batch-size", "4", "-o"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    undisturbed = out.with_name("undisturbed")
    subprocess.run([*command, str(undisturbed)], check=True, env=environment, capture_output=True)
    running = subprocess.Popen([*command, str(out)], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (state / "run.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGTERM, told
    assert "the same command with --resume" in told
    assert not out.exists()
    subprocess.run([*command, str(out), "--resume"], check=True, env=environment, capture_output=True)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (out, undisturbed)]
    assert weights[0] == weights[1]
    assert not state.exists()
