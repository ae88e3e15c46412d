"""``cl-haystack index``: what is printed of a job, and handed to it."""

import json
import sys
from dataclasses import replace
from typing import Any

import pytest
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.cli import index as command
from cl_haystack.cli.main import main
from cl_haystack.opensearch.indexing.jobs import judge
from cl_haystack.opensearch.indexing.report import IndexingReport
from cl_haystack.opensearch.indexing.unfinished import carry_report

REPORT = IndexingReport("docs", 1_003, 1, 1_002, 0, 1_000, 2, 0, {"total": 1.5})


def run(monkeypatch: pytest.MonkeyPatch, work: Any, *options: str) -> int | str | None:
    monkeypatch.setattr(command, "_here", lambda *unused: work)
    arguments = ["index", "bundle", "corpus.jsonl", "--index", "docs", *options]
    monkeypatch.setattr(sys, "argv", ["cl-haystack", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


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
    assert run(monkeypatch, work, *(["--json"] if as_json else [])) == status
    printed = capsys.readouterr()
    if as_json:
        assert json.loads(printed.out) == REPORT.to_dict()
    else:
        assert "1,003 read, 1 skipped, 1,002 embedded, 1,000 written, 2 refused in 1.5 s" in " ".join(
            printed.err.split()
        )


def test_policy_and_meta_fields_reach_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def note(*unused: Any, **options: Any) -> IndexingReport:
        seen.append(options)
        return replace(REPORT, rejected=0)

    assert run(monkeypatch, note) == 0
    assert run(monkeypatch, note, "--policy", "skip", "--meta-field", "title", "--meta-field", "year") == 0
    assert [options["policy"] for options in seen] == [DuplicatePolicy.OVERWRITE, DuplicatePolicy.SKIP]
    assert [list(options["meta_fields_to_embed"]) for options in seen] == [[], ["title", "year"]]
    assert {policy.name for policy in command.Policy} == {policy.name for policy in DuplicatePolicy}


def test_duplicates_under_fail_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(*unused: Any, **options: Any) -> IndexingReport:
        raise DuplicateDocumentError("3 documents are there already")

    assert run(monkeypatch, find, "--policy", "fail") == 1
    assert capsys.readouterr().err == "error: 3 documents are there already\n"
