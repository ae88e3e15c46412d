"""``evaluate`` and ``pairs`` from the command line, with a real bundle of a tiny, senseless model."""

import json
import shutil
import sys
from itertools import pairwise

import pytest

from cl_haystack.cli.main import main
from cl_haystack.data import read_pairs
from cl_haystack.evaluation import evaluate_retrieval
from cl_haystack.export import export_bundle
from tests.tiny_model import make_tiny_checkpoint

ANIMALS = ["cat", "dog", "mat", "red", "blue", "house", "runs", "the", "sat", "on"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def bundle(checkpoint, tmp_path_factory):
    return export_bundle(checkpoint, tmp_path_factory.mktemp("bundle") / "bundle").path


@pytest.fixture(scope="module")
def task_directory(tmp_path_factory):
    """Ten documents with titles; each question is a title, so that even a senseless model finds some."""
    directory = tmp_path_factory.mktemp("task")
    (directory / "qrels").mkdir()
    documents = [
        {"_id": f"d{i}", "title": f"the {word} {word}", "text": f"{word} on the {other}"}
        for i, (word, other) in enumerate(zip(ANIMALS, reversed(ANIMALS), strict=True))
    ]
    queries = [{"_id": f"q{i}", "text": f"{word} {word} <b>"} for i, word in enumerate(ANIMALS)]
    (directory / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (directory / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    qrels = "".join(f"q{i}\td{i}\t1\n" for i in range(len(ANIMALS)))
    (directory / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    return directory


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command, expect success, return standard output."""

    def run(*arguments, status=0):
        monkeypatch.setattr(sys, "argv", ["cl-haystack", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        assert caught.value.code == status, captured.err
        return captured.out if status == 0 else captured.err

    return run


def test_a_bundle_is_evaluated_exactly(run, bundle, task_directory):
    from cl_haystack.data import read_beir
    from cl_haystack.encoder import Encoder

    found = json.loads(run("evaluate", bundle, task_directory, "--json"))
    expected = evaluate_retrieval(read_beir(task_directory, "test"), Encoder.load(bundle))
    assert found["metrics"] == expected.metrics
    assert {"ndcg@10", "recall@100", "mrr@10"} <= set(found["metrics"])
    assert 0 < found["metrics"]["mrr@10"] <= 1
    assert found["metrics"]["recall@100"] == 1
    assert (found["num_queries"], found["num_documents"], found["latency"]) == (10, 10, None)
    interval = found["intervals"]["mrr@10"]
    assert interval["low"] <= found["metrics"]["mrr@10"] <= interval["high"]
    assert "comparison" not in found


def test_a_checkpoint_gives_what_its_bundle_gives(run, checkpoint, bundle, task_directory):
    found = json.loads(run("evaluate", checkpoint, task_directory, "--baseline", bundle, "--json"))
    assert found["metrics"] == pytest.approx(found["baseline"]["metrics"])
    assert found["comparison"]["verdict"] == "not distinguishable"
    assert found["comparison"]["ties"] == found["comparison"]["num_queries"] == 10


def test_the_table_and_the_report_say_the_same(run, bundle, task_directory, tmp_path):
    report = tmp_path / "report.html"
    shown = run("evaluate", bundle, task_directory, "--baseline", bundle, "--report", report)
    exact = json.loads(run("evaluate", bundle, task_directory, "--json"))["metrics"]
    page = report.read_text()
    assert "10 queries, 10 documents" in shown
    assert f"{exact['ndcg@10']:.4f}" in shown
    assert f"{exact['ndcg@10']:.3f}" in page
    assert "cannot be distinguished" in " ".join(shown.split())
    assert "cannot be distinguished" in page
    assert json.loads((bundle / "manifest.json").read_text())["fingerprint"] in page
    assert "<svg" in page


def test_a_report_without_a_baseline_shows_the_hardest_questions(run, bundle, task_directory, tmp_path):
    run("evaluate", bundle, task_directory, "--report", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.partition("<h2>Hardest negatives</h2>")[0].count("<article>") == 5
    assert "&lt;b&gt;" in page
    assert "<h2>Differences</h2>" not in page


def test_a_task_of_one_query_has_no_interval(run, bundle, task_directory, tmp_path):
    (task_directory / "qrels" / "one.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\n")
    found = json.loads(run("evaluate", bundle, task_directory, "--split", "one", "--json"))
    assert found["intervals"] == {}
    saved, report = tmp_path / "run.trec", tmp_path / "report.html"
    command = ("evaluate", bundle, task_directory, "--split", "one", "--report", report)
    shown = run(*command, "--save-run", saved)
    assert "a single judged query: neither intervals nor comparisons" in shown
    parts = ("--baseline", saved, "--curve", f"0={saved}", "--variant", bundle)
    found = json.loads(run(*command, *parts, "--json"))
    assert found["metrics"] == found["baseline"]["metrics"]
    assert (found["comparison"], found["comparisons"]) == (None, [])
    assert "<h2>Learning curve</h2>" in report.read_text()


def test_without_scipy_the_figures_come_without_intervals(run, bundle, task_directory, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    found = json.loads(run("evaluate", bundle, task_directory, "--json"))
    assert found["intervals"] == {}
    assert found["metrics"]["recall@100"] == 1
    message = run("evaluate", bundle, task_directory, "--baseline", bundle, status=1)
    assert "cl-haystack[report]" in message


def test_a_checkpoint_without_torch_names_the_extra(run, checkpoint, task_directory, monkeypatch):
    for name in ("torch", "cl_haystack.training.model"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "cl-haystack[train]" in run("evaluate", checkpoint, task_directory, status=1)


def test_what_is_no_model_is_said(run, task_directory, tmp_path):
    message = run("evaluate", tmp_path, task_directory, status=1)
    assert message.startswith(f"error: {tmp_path}: is no model: expected manifest.json (a bundle)")
    assert run("evaluate", tmp_path / "none", task_directory, status=1).startswith("error: ")


def test_a_checkpoint_cannot_search_an_index(run, checkpoint, task_directory):
    message = run("evaluate", checkpoint, task_directory, "--index", "x", status=1)
    assert "export the checkpoint first" in message


def test_a_mode_needs_an_index(run, bundle, task_directory):
    assert "--index" in run("evaluate", bundle, task_directory, "--mode", "bm25", status=2)


def test_a_saved_run_gives_the_same_figures_and_is_a_baseline(run, bundle, task_directory, tmp_path):
    saved, mteb = tmp_path / "run.trec", tmp_path / "mteb.json"
    found = json.loads(run("evaluate", bundle, task_directory, "--save-run", saved, "--mteb", mteb, "--json"))
    again = json.loads(run("evaluate", saved, task_directory, "--baseline", saved, "--json"))
    assert again["metrics"] == pytest.approx(found["metrics"])
    assert again["comparison"]["verdict"] == "not distinguishable"
    assert json.loads(mteb.read_text())["scores"]["test"][0]["main_score"] == found["metrics"]["ndcg@10"]


def test_seeds_of_a_training_are_one_system(run, bundle, task_directory, tmp_path):
    exact = tmp_path / "exact.trec"
    run("evaluate", bundle, task_directory, "--save-run", exact)
    poor = tmp_path / "poor.trec"
    poor.write_text(
        "".join(line for line in exact.read_text().splitlines(keepends=True) if line.startswith("q1 "))
    )
    alone = {
        name: json.loads(run("evaluate", name, task_directory, "--json"))["metrics"]
        for name in (bundle, poor)
    }
    command = ("evaluate", bundle, task_directory, "--other-seed", poor, "--baseline", poor, "--json")
    found = json.loads(run(*command))
    for name, value in found["metrics"].items():
        assert value == pytest.approx((alone[bundle][name] + alone[poor][name]) / 2)
    assert [seed["mrr@10"] for seed in found["seeds"]] == [m["mrr@10"] for m in alone.values()]
    assert found["comparison"]["baseline_mean"] == alone[poor]["ndcg@10"]
    first = f"nDCG@10 {alone[bundle]['ndcg@10']:.3f}, {alone[poor]['ndcg@10']:.3f}; texts shown are what"
    assert first in found["notes"][0]
    report = tmp_path / "report.html"
    shown = " ".join(run(*command[:-1], "--baseline", bundle, "--report", report).split())
    assert shown.count("mean of 2 seeds): nDCG@10") == 2
    page = report.read_text()
    assert page.count("model, seed 2") == page.count("baseline, seed 2") == 1


def test_what_a_run_leaves_out_is_told(run, bundle, task_directory, tmp_path):
    saved = tmp_path / "run.trec"
    run("evaluate", bundle, task_directory, "--save-run", saved)
    lines = saved.read_text().splitlines(keepends=True)
    saved.write_text("".join(line for line in lines if not line.startswith("q3 ")))
    shown = " ".join(run("evaluate", saved, task_directory).split())
    assert "1 queries are not answered by the run and score 0 ('q3')" in shown
    before = json.loads(run("evaluate", saved, task_directory, "--json"))
    saved.write_text("no line of a run\n" + saved.read_text() + "q1 Q0 d1 1 high x\nq1 Q0 d1 1 0.5 x\n")
    found = json.loads(run("evaluate", saved, task_directory, "--json"))
    assert found["metrics"] == before["metrics"]
    assert found["run_oddities"][0].startswith("3 lines are none of a run, or name a document again, and are")
    assert "line 1: found 'no line of a run" in found["run_oddities"][0]


def test_systems_of_one_name_are_told_apart(run, bundle, checkpoint, task_directory, labelled, tmp_path):
    one, two = (shutil.copytree(checkpoint, tmp_path / name / "checkpoint") for name in "ab")
    report = tmp_path / "report.html"
    shown = json.loads(run("evaluate", two, task_directory, "--baseline", one, "--report", report, "--json"))
    assert (shown["baseline"]["system"], shown["system"]) == (str(one), str(two))
    assert f"{two} cannot be distinguished from {one} on" in " ".join(report.read_text().split())
    again = json.loads(run("evaluate", bundle, labelled, "--baseline", bundle, "--report", report, "--json"))
    label = again["baseline"]["system"].removesuffix(" (1)")
    assert label.endswith(f", fp32) from {bundle}")
    assert again["system"] == f"{label} (2)"
    assert f"<small>against {label} (1)</small>" in report.read_text()


def test_every_part_of_a_study_comes_into_the_report(run, bundle, task_directory, tmp_path):
    run("evaluate", bundle, task_directory, "--save-run", tmp_path / "run.trec")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"anchor": "unlike", "positive": "the cat cat cat on the on"}\n')
    shown = run(
        *("evaluate", bundle, task_directory, "--baseline", tmp_path / "run.trec", "--trained-on", pairs),
        *(
            "--variant",
            bundle,
            "--curve",
            f"0={tmp_path / 'run.trec'}",
            "--curve",
            f"100={tmp_path / 'run.trec'}",
        ),
        *("--report", tmp_path / "report.html"),
    )
    assert "documents that no training pair names (9 queries): not distinguishable" in " ".join(shown.split())
    page = (tmp_path / "report.html").read_text()
    for heading in ("Figures", "Differences", "Learning curve", "Scores", "Map", "Quality and speed"):
        assert f"<h2>{heading}" in page


def test_a_task_that_the_training_pairs_give_away_altogether_is_told(run, bundle, task_directory, tmp_path):
    pairs, report = tmp_path / "pairs.jsonl", tmp_path / "report.html"
    run("pairs", "from-qrels", task_directory, "--split", "test", "-o", pairs)
    with pairs.open("a") as file:
        file.write("no pair\n")
    command = ("evaluate", bundle, task_directory, "--baseline", bundle, "--trained-on", pairs)
    expected = [
        "of 10 queries of",
        "10 have a relevant document that",
        "1 lines of pairs.jsonl are no pair",
        "too few queries to compare: documents that no training pair names (0), questions unlike any "
        "training anchor (0), both (0)",
    ]
    shown = " ".join(run(*command, "--report", report).split())
    found = json.loads(run(*command, "--json"))
    assert [row["on"] for row in found["comparisons"]] == ["all queries"]
    for text in (shown, " ".join(report.read_text().split()), "; ".join(found["notes"])):
        assert [line for line in expected if line not in text] == []


def test_a_control_task_is_compared_too(run, bundle, task_directory):
    shown = json.loads(
        run("evaluate", bundle, task_directory, "--baseline", bundle, "--control", task_directory, "--json")
    )
    all_queries, control = shown["comparisons"]
    assert (all_queries["on"], control["on"]) == ("all queries", f"control: {task_directory.name}/test")
    assert control["num_queries"] == 10


@pytest.fixture
def labelled(tmp_path):
    records = [
        {"anchor": f"{first} {one}", "positive": f"{first} {other}", "label": int(one == other)}
        for first in ANIMALS[:4]
        for one, next_one in pairwise([*ANIMALS, ANIMALS[0]])
        for other in (one, next_one)
    ]
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_threshold_comes_into_the_bundle_which_stays_verified(run, bundle, labelled, tmp_path):
    from cl_haystack.bundle import ModelBundle

    own = tmp_path / "bundle"
    shutil.copytree(bundle, own)
    command = (
        "evaluate",
        own,
        labelled,
        "--calibrate",
        "duplicate=0.95",
        "--report",
        tmp_path / "report.html",
    )
    found = json.loads(run(*command, "--json"))
    assert found["metrics"]["average_precision"] == pytest.approx(
        1
    )  # the same text twice is the most similar
    threshold = ModelBundle.load(own).manifest.calibration["thresholds"]["duplicate"]
    assert found["thresholds"]["duplicate"]["score"] == threshold.score < 1
    assert (threshold.precision, threshold.recall, threshold.pairs, threshold.positives) == (1, 1, 80, 40)
    assert "int8_scale" in ModelBundle.load(own).manifest.calibration
    assert "Dashed: the calibrated threshold" in (tmp_path / "report.html").read_text()


def test_a_bundle_is_evaluated_and_reported_without_torch(
    run, bundle, task_directory, labelled, tmp_path, monkeypatch
):
    for name in ("torch", "transformers", "optimum", "sklearn", "sentence_transformers", "datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    for data in (task_directory, labelled):
        run("evaluate", bundle, data, "--baseline", bundle, "--report", tmp_path / "report.html")
        assert "cannot be distinguished" in (tmp_path / "report.html").read_text()


def test_pairs_are_compared_with_a_baseline(run, bundle, labelled):
    command = ("evaluate", bundle, labelled, "--baseline", bundle)
    found = json.loads(run(*command, "--json"))
    assert 0 < found["f1_threshold"] < 1
    assert f"is best from similarity {found['f1_threshold']:.4f} on" in " ".join(run(*command).split())
    assert [row["metric"] for row in found["comparisons"]] == ["average_precision", "f1"]
    assert {row["verdict"] for row in found["comparisons"]} == {"not distinguishable"}
    assert found["intervals"]["f1"]["low"] <= found["metrics"]["f1"] <= found["intervals"]["f1"]["high"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PAIRS", "--calibrate", "duplicate"], "expected NAME=PRECISION"),
        (["PAIRS", "--index", "x"], "is for retrieval"),
        (["PAIRS", "--filters", "{}"], "--filters is for retrieval"),
        (["PAIRS", "--mode", "dense"], "--mode is for retrieval"),
        (["PAIRS", "--split", "test"], "--split is for retrieval"),
        (["PAIRS", "--url", "http://x"], "--url is for retrieval"),
        (["PAIRS", "--top-k", "200"], "--top-k is for retrieval"),
        (["PAIRS", "--other-seed", "x"], "--other-seed is for retrieval"),
        (["PAIRS", "--baseline", "x", "--baseline", "y"], "seeds are for retrieval"),
        (["TASK", "--index", "x", "--other-seed", "y"], "holds the vectors of one model"),
        (["TASK", "--calibrate", "x=0.9"], "needs a file of labelled pairs"),
        (["TASK", "--control", "x"], "name a --baseline"),
        (["TASK", "--filters", "{}"], "needs --index"),
        (["TASK", "--url", "http://x"], "needs --index"),
        (["TASK", "--variant", "/nonexistent"], "is shown in the report"),
        (["TASK", "--curve", "0=run.trec"], "is shown in the report"),
        (["TASK", "--report", "out.html", "--curve", "many=run.trec"], "expected PAIRS=RUN"),
        (["TASK", "--baseline", __file__, "--control", "x"], "answers the queries of one task"),
    ],
)
def test_options_that_do_not_fit_are_refused(run, bundle, task_directory, labelled, arguments, message):
    names = {"PAIRS": labelled, "TASK": task_directory}
    shown = run("evaluate", bundle, *(names.get(argument, argument) for argument in arguments), status=2)
    assert message in " ".join(shown.replace("│", " ").split())


def test_what_cannot_be_calibrated_is_said_before_the_work(run, bundle, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("cl_haystack.cli.evaluate_pairs.open_model", None)  # it would be the work
    assert "expected above 0" in run("evaluate", bundle, labelled, "--calibrate", "x=2", status=1)
    graded = tmp_path / "graded.jsonl"
    graded.write_text('{"anchor": "a", "positive": "b", "score": 0.5}\n')
    assert "no pair has a label" in run("evaluate", bundle, graded, "--calibrate", "x=0.9", status=1)
    assert "it takes 163 to be sure" in run("evaluate", bundle, labelled, "--calibrate", "x=0.99", status=1)


def test_figures_are_told_where_no_threshold_is_sure_enough(run, bundle, labelled, tmp_path):
    mixed = labelled.read_text().splitlines(keepends=True)
    swapped = [line.replace('"label": 1', '"label": 2') for line in mixed[:40]]
    swapped = [
        line.replace('"label": 0', '"label": 1').replace('"label": 2', '"label": 0') for line in swapped
    ]
    labelled.write_text("".join(swapped + mixed[40:]))
    report = tmp_path / "report.html"
    before = (bundle / "manifest.json").read_bytes()
    message = run("evaluate", bundle, labelled, "--calibrate", "x=0.9", "--report", report, status=1)
    assert "no threshold surely has a precision of 0.9: the best is right on 0." in message
    assert "F1 is best from similarity" in report.read_text()
    assert (bundle / "manifest.json").read_bytes() == before


def test_a_checkpoint_takes_no_threshold(run, checkpoint, labelled):
    assert "holds no manifest.json" in run(
        "evaluate", checkpoint, labelled, "--calibrate", "duplicate=0.5", status=1
    )


def test_pairs_from_a_corpus(run, task_directory, tmp_path):
    out = tmp_path / "pairs.jsonl"
    counts = json.loads(run("pairs", "from-corpus", task_directory / "corpus.jsonl", "-o", out, "--json"))
    pairs = list(read_pairs(out))
    assert counts["pairs"] == len(pairs) == 10
    assert (pairs[0].anchor, pairs[0].positive) == ("the cat cat", "cat on the on")


def test_pairs_from_a_corpus_by_several_methods(run, tmp_path):
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "pairs.jsonl"
    text = "A first sentence of seven words here. And a second one of some more words. Short."
    corpus.write_text(json.dumps({"_id": "1", "title": "T", "text": text}) + '\n{"_id": "2", "title": "U"}')
    command = ("pairs", "from-corpus", corpus, "-o", out, "--method", "cloze", "--method", "crop")
    counts = json.loads(run(*command, "--seed", "1", "--json"))
    assert (counts["pairs"], counts["too_short"]) == (2, 2)
    first = out.read_bytes()
    assert [pair.source for pair in read_pairs(out)] == ["cloze", "crop"]
    run(*command, "--seed", "1")
    assert out.read_bytes() == first
    assert "Invalid value for '--method'" in run(*command, "--method", "magic", status=2)


def test_pairs_from_judgements(run, task_directory, tmp_path, capsys):
    out = tmp_path / "pairs.jsonl"
    run("pairs", "from-qrels", task_directory, "--split", "test", "-o", out)
    pairs = list(read_pairs(out))
    assert (pairs[0].anchor, pairs[0].positive) == ("cat cat <b>", "the cat cat cat on the on")
    assert len(pairs) == 10


def test_no_pairs_at_all_is_an_error_that_says_why_and_writes_nothing(run, task_directory, tmp_path):
    out = tmp_path / "pairs.jsonl"
    source = task_directory / "queries.jsonl"
    message = run("pairs", "from-corpus", source, "-o", out, status=1)
    assert message == f"error: {source}: no pair could be made: 10 (no title); nothing was written\n"
    assert not out.exists()
