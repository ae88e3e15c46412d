"""``pairs`` from the command line: what it writes, what it leaves alone, and what it tells."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cl_haystack.cli.main import app
from cl_haystack.data import Pair, read_pairs, write_pairs
from cl_haystack.errors import ConfigurationError


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
