"""``pairs`` from the command line: what it writes, what it leaves alone, and what it tells."""

import json
import tracemalloc
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cl_haystack.cli.main import app
from cl_haystack.data import Pair, read_pairs, write_pairs
from cl_haystack.data.datasheet import datasheet_path, describe_pairs, read_datasheet
from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.checkpoint import TRAINING_FILE, describe_dataset
from tests.tiny_model import make_tiny_checkpoint


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["pairs", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    made = [Pair(anchor=f"question {number}", positive=f"answer {number}") for number in range(9)]
    write_pairs(made, tmp_path / "pairs.jsonl")
    return tmp_path / "pairs.jsonl"


def test_no_file_is_written_over_another(pairs, tmp_path):
    before = pairs.read_bytes()
    link, x = tmp_path / "link.jsonl", tmp_path / "x.jsonl"
    link.symlink_to(x)
    small = tmp_path / "3.jsonl"
    small.write_bytes(before)
    for arguments in (
        ("split", pairs, "--train", x, "--held-out", x),
        ("split", pairs, "--train", x, "--held-out", link),
        ("split", pairs, "--train", pairs, "--held-out", x),
        ("sample", small, "--size", 9, "--size", 3, "-o", tmp_path),
        ("check", pairs, "-o", x, "--report", x),
        ("check", pairs, "-o", x, "--report", pairs),
        ("check", pairs, "-o", x, "--report", tmp_path / "x.dropped.jsonl"),
    ):
        with pytest.raises(ConfigurationError, match="is named twice"):
            run(*arguments)
        assert pairs.read_bytes() == small.read_bytes() == before
        assert not x.exists()
    run("check", pairs, "-o", x, "--report", tmp_path / "report.json")
    assert list(read_pairs(x)) == list(read_pairs(pairs))
    assert json.loads((tmp_path / "report.json").read_text())["lines"] == 9


def test_the_usual_sizes_that_there_are_are_drawn(tmp_path):
    many = tmp_path / "many.jsonl"
    write_pairs([Pair(anchor=f"a{number}", positive="p") for number in range(100)], many)
    run("sample", many, "-o", tmp_path / "few")
    counts = {path.stem: sum(1 for _ in read_pairs(path)) for path in (tmp_path / "few").glob("*.jsonl")}
    assert counts == {"50": 50, "100": 100}
    few = tmp_path / "few.jsonl"
    write_pairs(list(read_pairs(many))[:49], few)
    with pytest.raises(DataError, match="holds fewer than 50 pairs; name sizes with --size"):
        run("sample", few, "-o", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_no_command_holds_a_whole_file(tmp_path):
    """Files are as large as people have them; here 12 MB stand for tens of gigabytes."""
    many = tmp_path / "many.jsonl"
    write_pairs((Pair(anchor=f"a{n}", positive=f"{n} " + "text " * 4000) for n in range(600)), many)
    out = tmp_path / "out.jsonl"
    for arguments in (
        ("split", many, "--train", tmp_path / "train.jsonl", "--held-out", tmp_path / "test.jsonl"),
        ("sample", many, "--size", 10, "-o", tmp_path / "few"),
        ("from-table", many, "-o", out),
    ):
        tracemalloc.start()
        run(*arguments)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4e6, arguments[0]
    assert sum(1 for _ in read_pairs(out)) == 600


def test_a_model_that_was_trained_on_the_pairs_is_no_judge_of_them(pairs, tmp_path):
    clean, part, other = (tmp_path / f"{name}.jsonl" for name in ("clean", "part", "other"))
    run("check", pairs, "-o", clean)
    run("split", clean, "--train", part, "--held-out", other)
    checkpoint = make_tiny_checkpoint(tmp_path)
    believed = {}
    for trained_on in (pairs, clean, part):
        training = {"datasets": [{"name": "mined"}, describe_dataset(trained_on)]}
        (checkpoint / TRAINING_FILE).write_text(json.dumps(training))
        for file in (pairs, clean, part, other):
            told = run("check", file, "-o", tmp_path / "left.jsonl", "--bundle", checkpoint).stderr
            believed[trained_on.stem, file.stem] = "WARNING" in told
    assert believed == {
        **{("pairs", name): True for name in ("pairs", "clean", "part", "other")},
        **{("clean", name): True for name in ("pairs", "clean", "part", "other")},
        **{("part", name): True for name in ("pairs", "clean", "part")},
        ("part", "other"): False,
    }


def test_looking_at_a_datasheet_changes_nothing(pairs):
    assert "licence: not stated" in run("describe", pairs).stdout
    assert not datasheet_path(pairs).exists()
    describe_pairs(pairs, method="from-table", num_pairs=9, judged_by="whoever made the table")
    run("describe", pairs, "--licence", "internal", "--since", "2026-01-01")
    before = datasheet_path(pairs).read_bytes()
    shown = run("describe", pairs).stdout
    assert "method: from-table" in shown
    assert "licence: internal" in shown
    assert datasheet_path(pairs).read_bytes() == before


def test_what_people_said_of_pairs_outlives_a_change_of_the_pairs(pairs):
    describe_pairs(
        pairs, method="from-table", num_pairs=9, source="tickets", judged_by="whoever made the table"
    )
    run("describe", pairs, "--licence", "internal")
    before = datasheet_path(pairs).read_bytes()
    with pairs.open("a") as file:
        file.write('{"anchor": "one more", "positive": "pair"}\n')
    result = run("describe", pairs)
    assert "warning: pairs.datasheet.json is that of other pairs than pairs.jsonl holds" in result.stderr
    assert "source: tickets" in result.stdout
    assert "num pairs: 10" in result.stdout
    assert "method: not stated" in result.stdout
    assert datasheet_path(pairs).read_bytes() == before
    run("describe", pairs, "--judged-by", "two agents")
    sheet = read_datasheet(pairs)
    assert sheet is not None
    assert (sheet.source, sheet.licence, sheet.judged_by) == ("tickets", "internal", "two agents")


def test_a_time_that_is_none_is_refused(pairs):
    for option in ("--since", "--until"):
        with pytest.raises(DataError, match="'garbage' is no time"):
            run("describe", pairs, option, "garbage")
    assert not datasheet_path(pairs).exists()


def test_files_of_a_folder_that_are_not_read_are_told_by_their_endings(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Guide\n\nRun the installer and follow the steps.\n")
    for name in ("b.pdf", "c.PDF", "d.docx", "LICENSE"):
        (folder / name).write_bytes(b"x")
    result = run("from-corpus", folder, "-o", tmp_path / "p.jsonl")
    said = "4 files are not read, for their endings: 2 .pdf, 1 without, 1 .docx"
    assert f"note: {said}" in result.stderr
    [oddity] = json.loads(run("from-corpus", folder, "-o", tmp_path / "p.jsonl", "--json").stdout)["oddities"]
    assert f"{oddity['count']} {oddity['what']}" == said
