"""``cl-haystack index``: what is printed of a job, and handed to it."""

import json
import sys
from typing import Any

import pytest

from cl_haystack.cli import index as command
from cl_haystack.cli.main import main
from cl_haystack.opensearch.indexing.jobs import judge
from cl_haystack.opensearch.indexing.report import IndexingReport
from cl_haystack.opensearch.indexing.unfinished import carry_report

REPORT = IndexingReport("docs", 1_003, 1, 1_002, 0, 1_000, 2, 0, {"total": 1.5})


def refuse(*unused: Any, **options: Any) -> IndexingReport:
    return judge(REPORT, None)


def interrupt(*unused: Any, **options: Any) -> IndexingReport:
    error = KeyboardInterrupt()
    carry_report(error, REPORT)
    raise error


@pytest.mark.parametrize(("work", "status"), [(refuse, 1), (interrupt, 130)])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_job_that_fails_prints_its_report(
    work: Any, status: int, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_here", lambda *unused: work)
    arguments = ["index", "bundle", "corpus.jsonl", "--index", "docs", *(["--json"] if as_json else [])]
    monkeypatch.setattr(sys, "argv", ["cl-haystack", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    assert caught.value.code == status
    if as_json:
        assert json.loads(printed.out) == REPORT.to_dict()
    else:
        assert "1,003 read, 1 skipped, 1,002 embedded, 1,000 written, 2 refused in 1.5 s" in " ".join(
            printed.err.split()
        )
