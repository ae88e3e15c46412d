"""``mine`` from the command line, with a real bundle of a tiny, senseless model."""

import json
import sys

import pytest

from cl_haystack.bundle.fingerprint import file_entry
from cl_haystack.cli.main import main
from cl_haystack.data import MiningReport, mine_hard_negatives, read_corpus, read_pairs
from cl_haystack.data.datasheet import read_datasheet
from tests.unit.cli.test_evaluate import bundle, checkpoint, run, task_directory

__all__ = ["bundle", "checkpoint", "run", "task_directory"]

LOOSE = ("--relative-margin", "0", "--num-negatives", "2")  # a senseless model finds hardly any by default


@pytest.fixture
def files(task_directory, tmp_path):
    """Pairs, corpus, and where the result goes."""
    corpus = [json.loads(line) for line in (task_directory / "corpus.jsonl").read_text().splitlines()]
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"anchor": d["title"], "positive": d["title"] + " " + d["text"], "weight": 2} for d in corpus]
    pairs.write_text("\n".join(map(json.dumps, rows)))
    return pairs, task_directory / "corpus.jsonl", tmp_path / "new" / "mined.jsonl"


def test_pairs_get_negatives_as_the_library_gives_them(run, bundle, files):
    from cl_haystack.encoder import Encoder

    pairs, corpus, out = files
    counts = json.loads(run("mine", pairs, corpus, "--model", bundle, *LOOSE, "-o", out, "--json"))
    expected, report = mine_hard_negatives(
        read_pairs(pairs), read_corpus(corpus), Encoder.load(bundle), relative_margin=0, num_negatives=2
    )
    assert list(read_pairs(out)) == expected
    assert MiningReport(**counts) == report
    assert counts["mined"] > 0
    assert counts["known_positives"] >= 10


def test_a_checkpoint_mines_what_its_bundle_mines(run, bundle, checkpoint, files):
    pairs, corpus, out = files
    found = []
    for model in (bundle, checkpoint):
        run("mine", pairs, corpus, "--model", model, *LOOSE, "-o", out)
        found.append([pair.negatives for pair in read_pairs(out)])
    assert found[0] == found[1]


def test_the_summary_is_one_line(bundle, files, monkeypatch, capsys):
    pairs, corpus, out = files
    options = ("--model", bundle, *LOOSE, "--sampling", "random", "--seed", "3", "-o", out)
    monkeypatch.setattr(sys, "argv", list(map(str, ("cl-haystack", "mine", pairs, corpus, *options))))
    with pytest.raises(SystemExit):
        main()
    shown = " ".join(capsys.readouterr().err.split())
    mined = list(read_pairs(out))
    number = sum(len(pair.negatives) for pair in mined)
    assert f"{number} negatives for {sum(bool(pair.negatives) for pair in mined)} of 10 pairs" in shown
    assert "(a positive of the anchor)" in shown


def test_the_datasheet_goes_with_the_pairs(run, bundle, files):
    pairs, corpus, out = files
    run("pairs", "describe", pairs, "--source", "tickets", "--judged-by", "two agents")
    counts = json.loads(run("mine", pairs, corpus, "--model", bundle, *LOOSE, "-o", out, "--json"))
    sheet = read_datasheet(out)
    assert (sheet.source, sheet.judged_by, sheet.num_pairs) == ("tickets", "two agents", 10)
    [step] = sheet.curation
    assert step.name.startswith("mine with checkpoint (space ")
    assert step.counts == counts
    assert [(entry.name, entry.sha256) for entry in sheet.inputs] == [
        ("pairs.jsonl", file_entry(pairs).sha256)
    ]


@pytest.mark.parametrize("described", [True, False])
def test_pairs_can_be_replaced_in_place(run, bundle, files, described):
    pairs, corpus, _ = files
    before = file_entry(pairs)
    if described:
        run("pairs", "describe", pairs, "--source", "tickets")
    run("mine", pairs, corpus, "--model", bundle, *LOOSE, "-o", pairs)
    assert any(pair.negatives for pair in read_pairs(pairs))
    sheet = read_datasheet(pairs)
    assert sheet.source == ("tickets" if described else "")
    assert sheet.inputs[0].sha256 == before.sha256 != sheet.sha256


def test_nothing_mined_is_an_error_that_says_why_and_writes_nothing(run, bundle, files):
    pairs, corpus, out = files
    arguments = ("mine", pairs, corpus, "--model", bundle, "-o", out, "--absolute-margin", "1.9")
    message = run(*arguments, status=1)
    assert message.startswith(f"error: {pairs}: no pair got a negative: ")
    assert "within the margin of the positive" in message
    assert message.rstrip().endswith("of 100 candidates; nothing was written")
    assert list(out.parent.iterdir()) == []


def test_options_that_cannot_be(run, bundle, checkpoint, files):
    pairs, corpus, out = files
    start = ("mine", pairs, corpus, "--model", bundle, "-o", out)
    assert "--index" in run(*start, "--mode", "bm25", status=2)
    for ranks in ("50", "a:b", "-1:5", "5"):
        assert "--rank-range" in run(*start, f"--rank-range={ranks}", status=2)
    assert "rank_range is (5, 5)" in run(*start, "--rank-range", "5:5", status=1)
    assert "relative_margin is 1.5" in run(*start, "--relative-margin", "1.5", status=1)
    message = run("mine", pairs, corpus, "--model", checkpoint, "-o", out, "--index", "x", status=1)
    assert "export the checkpoint first" in message
    message = run("mine", pairs, corpus, "--model", bundle, "-o", out.with_suffix(".csv"), status=1)
    assert "use .jsonl" in message
