"""Lines and rows that are no pairs: named where they stand, and the check goes on."""

import json
import tracemalloc
from contextlib import closing

import pytest

from cl_haystack.data import lines, read_pairs
from cl_haystack.data.curation import check_pairs
from cl_haystack.data.curation.intake import Intake
from cl_haystack.data.curation.spool import Spool
from cl_haystack.errors import DataError
from cl_haystack.progress import ignore


def test_broken_lines_are_named_and_do_not_stop_the_check(tmp_path):
    good = json.dumps({"anchor": "question", "positive": "an answer"}).encode()
    broken = [
        b"\xef\xbb\xbf" + good,
        b"{",
        '{"anchor": "Käse", "positive": "b"}'.encode("latin-1"),
        b"",
        b"[1]",
        b'{"anchor": "", "positive": "b"}',
        b'{"anchor": "a"}',
        good.replace(b"question", b"?!"),
    ]
    (tmp_path / "pairs.jsonl").write_bytes(b"\n".join(broken))
    report = check_pairs(tmp_path / "pairs.jsonl", tmp_path / "clean.jsonl")
    told = [json.loads(line) for line in (tmp_path / "clean.dropped.jsonl").read_text().splitlines()]
    kinds = {line["line"]: line["reasons"][0]["kind"] for line in told}
    assert kinds == {**dict.fromkeys((2, 3, 5, 6, 7), "malformed"), 8: "no-words"}
    assert (report.lines, report.kept, report.dropped) == (7, 1, 6)
    assert "is not UTF-8" in told[1]["reasons"][0]["detail"]


def test_broken_lines_do_not_wait_in_memory_for_a_good_one(tmp_path):
    line = b'{"anchor": "' + b"a" * 2000 + b"\n"
    (tmp_path / "pairs.jsonl").write_bytes(line * 4000 + b'{"anchor": "a", "positive": "b"}')
    with closing(Spool(tmp_path)) as spool:
        tracemalloc.start()
        columns = Intake(spool, None, None).read(tmp_path / "pairs.jsonl", ignore)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(columns.line) == 4001
    assert peak < 2 << 20  # of 8 MB


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_json_array_in_one_line_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, encoding):
    monkeypatch.setattr(lines, "_MAX_MEGABYTES", 1)
    pair = {"anchor": "question", "positive": "an answer"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps([pair] * 200_000), encoding)  # 9.6 MB
    tracemalloc.start()
    with pytest.raises(DataError, match=r"pairs.jsonl:1: the line is longer than 1 MB.*jq"):
        next(read_pairs(tmp_path / "pairs.jsonl"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20


def test_broken_rows_of_a_table_are_named(tmp_path):
    rows = [
        "anchor,positive",
        'a question,"an\nanswer"',
        "Käse,x",
        "only one",
        'another,"reply" x',
        "last,line",
    ]
    (tmp_path / "pairs.csv").write_bytes("\n".join(rows).encode("latin-1"))
    check_pairs(tmp_path / "pairs.csv", tmp_path / "clean.jsonl")
    told = [json.loads(line) for line in (tmp_path / "clean.dropped.jsonl").read_text().splitlines()]
    assert [line["line"] for line in told] == [4, 5, 6]
    assert [pair.anchor for pair in read_pairs(tmp_path / "clean.jsonl")] == ["a question", "last"]
