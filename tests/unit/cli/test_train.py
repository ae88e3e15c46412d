"""``train`` from the command line, with a tiny, senseless model."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from cl_haystack.cli.train import _draw as draw
from cl_haystack.cli.train import _training_sets as training_sets
from cl_haystack.data import read_corpus, read_pairs
from cl_haystack.training import ContrastiveTrainer, Recipe, TrainingConfig
from cl_haystack.training.checkpoint import read_layout
from cl_haystack.training.losses import Triplet
from tests.tiny_model import make_tiny_checkpoint
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
    flags += ("--query-prefix", "query: ", "--document-prefix", "passage: ")
    found = json.loads(run("train", pairs, "--model", checkpoint, "-o", out, *flags, "--json"))
    assert found["report"]["steps"] == 2 * 3
    layout = read_layout(out)
    assert (layout.query_prefix, layout.document_prefix) == ("query: ", "passage: ")
    record = layout.training
    assert record["hyperparameters"]["learning_rate"] == 1e-3
    assert record["hyperparameters"]["batch_size"] == 4
    assert record["loss"]["scale"] == 10
    assert record["datasets"][0]["licence"] == "CC0-1.0"
    assert record["scores"][0]["positives"]["mean"] <= 1
    assert [path.name for path in out.parent.iterdir()] == ["tuned"]  # no state is left behind


def test_a_loss_takes_its_options(run, checkpoint, files):
    pairs, _, out = files
    options = (
        "--scale",
        "30",
        "--loss-option",
        'directions=["query_to_doc"]',
        "--loss-option",
        "similarity=dot",
    )
    run("train", pairs, "--model", checkpoint, "-o", out, *options, "--epochs", "1")
    loss = read_layout(out).training["loss"]
    assert (loss["scale"], loss["directions"], loss["similarity"]) == (30, ["query_to_doc"], "dot")


def test_the_first_coordinates_are_trained_by_themselves(run, checkpoint, files):
    pairs, _, out = files
    run(
        "train",
        pairs,
        "--model",
        checkpoint,
        "-o",
        out,
        "--matryoshka",
        "16",
        "--matryoshka",
        "8",
        "--scale",
        "9",
    )
    loss = read_layout(out).training["loss"]
    assert (loss["name"], loss["dimensions"]) == ("matryoshka", [16, 8])
    assert (loss["loss"]["name"], loss["loss"]["scale"]) == ("infonce", 9)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("margin", "'margin' has no value; write NAME=VALUE"),
        ("scale=20", "'scale=20' is given twice"),
        ("margin=0.3", "loss 'infonce' has no option 'margin'; its options are scale, similarity"),
        ("hardness_strength=high", "hardness_strength is high, expected a number of at least 0"),
    ],
)
def test_a_wrong_option_of_a_loss_is_named_before_any_work(
    checkpoint, files, monkeypatch, capsys, option, problem
):
    from cl_haystack.cli.main import main

    pairs, _, out = files
    arguments = ["train", pairs, "--model", checkpoint, "-o", out, "--scale", "10", "--loss-option", option]
    monkeypatch.setattr(sys, "argv", ["cl-haystack", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code
    assert problem in " ".join(capsys.readouterr().err.split())


def test_pairs_alone_get_negatives_from_each_other(checkpoint, files, monkeypatch, capsys):
    from cl_haystack.cli.main import main

    pairs, _, out = files
    alone = [json.loads(line) for line in pairs.read_text().splitlines()]
    pairs.write_text("\n".join(json.dumps({n: row[n] for n in ("anchor", "positive")}) for row in alone))
    arguments = ["train", pairs, "--model", checkpoint, "-o", out, "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["cl-haystack", *map(str, arguments)])
    with pytest.raises(SystemExit):
        main()
    assert "of 10 pairs out of 10 texts" in " ".join(capsys.readouterr().err.split())
    assert read_layout(out).training["num_pairs"] == 10


def test_documents_give_negatives_and_pairs(run, checkpoint, files):
    pairs, corpus, out = files
    drawn = ("--corpus", corpus, "--draw", "title", "--scale", "50")
    run("train", pairs, "--model", checkpoint, "-o", out, *drawn, "--epochs", "1")
    datasets = read_layout(out).training["datasets"]
    assert [dataset["loss"]["scale"] for dataset in datasets] == [50, 50]
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


def test_drawn_pairs_have_no_score_for_a_loss_that_needs_one(run, checkpoint, files):
    pairs, corpus, out = files
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    rows = [
        {"anchor": row["anchor"], "positive": row["positive"], "score": 0.1 * i} for i, row in enumerate(rows)
    ]
    pairs.write_text("\n".join(map(json.dumps, rows)))
    drawn = ("--corpus", corpus, "--draw", "title", "--loss", "cosent")
    run("train", pairs, "--model", checkpoint, "-o", out, *drawn, "--epochs", "1")
    assert [d["loss"]["name"] for d in read_layout(out).training["datasets"]] == ["cosent", "infonce"]


def test_what_was_drawn_for_another_loss_model_or_seed_is_not_taken_up(checkpoint, files, tmp_path):
    pairs, corpus, _ = files
    other = make_tiny_checkpoint(tmp_path / "other", seed=5)

    def folders(model, loss=None, seed=42):
        trainer = ContrastiveTrainer(model, loss=loss, config=TrainingConfig(seed=seed))
        training_sets(pairs, corpus, (), "", trainer, tmp_path / "state", None, None)
        return len(list((tmp_path / "state").iterdir()))

    assert [folders(checkpoint), folders(checkpoint), folders(other)] == [1, 1, 2]
    assert [folders(checkpoint, Triplet()), folders(checkpoint, seed=1)] == [3, 4]


def test_a_corpus_too_large_for_the_pairs_is_sampled(checkpoint, files, tmp_path, monkeypatch, capsys):
    pairs, corpus, _ = files
    monkeypatch.setattr("cl_haystack.training.Recipe", partial(Recipe, min_documents=2, documents_per_pair=0))
    trainer = ContrastiveTrainer(checkpoint)
    training_sets(pairs, corpus, (), "", trainer, tmp_path / "state", None, None)
    told = capsys.readouterr().err
    assert "out of 2 texts" in told
    assert "a sample of 10 documents" in told


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_model_is_measured_and_the_overlap_told(
    checkpoint, files, task_directory, monkeypatch, capsys, split
):
    from cl_haystack.cli.main import main

    pairs, corpus, out = files
    judged = (task_directory / "qrels" / "test.tsv").read_text().splitlines()
    (task_directory / "qrels" / "dev.tsv").write_text("\n".join(judged[:5]))
    unrelated = {"anchor": "a question", "positive": "an answer", "negative": "no answer"}
    pairs.write_text(json.dumps(unrelated) if split == "dev" else pairs.read_text())
    arguments = ["train", pairs, "--model", checkpoint, "-o", out, "--eval", task_directory]
    arguments += ["--eval-split", split, "--epochs", "3", "--batch-size", "4"]
    arguments += ["--corpus", corpus, "--draw", "title"] if split == "dev" else []
    monkeypatch.setattr(sys, "argv", ["cl-haystack", *map(str, arguments)])
    monkeypatch.setattr("cl_haystack.training.trainer.find_overlap", None)  # it was found out to be told
    with pytest.raises(SystemExit):
        main()
    told = " ".join(capsys.readouterr().err.split())
    record = read_layout(out).training
    assert ("WARNING: --eval-split test" in told) == (split == "test")
    if split == "dev":  # the four documents that answer the questions gave no pair
        assert [each["num_pairs"] for each in record["datasets"]] == [1, 6]
        assert "shares no query and no relevant document with the 7 pairs" in told
        assert record["overlap"]["queries_with_seen_documents"] == 0
    else:
        assert "10 have a relevant document that a training pair was made of" in told
        assert record["overlap"]["queries_with_seen_documents"] == 10
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
        (("--matryoshka", "99"), "the embeddings have 16"),
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


def test_a_place_that_cannot_be_written_is_named_before_any_mining(run, checkpoint, files, monkeypatch):
    pairs, corpus, _ = files
    monkeypatch.setattr(ContrastiveTrainer, "mine", None)
    out = pairs / "tuned"
    told = run("train", pairs, "--model", checkpoint, "-o", out, "--corpus", corpus, status=1)
    assert "cannot be written: Not a directory" in told


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
