"""A journal on a disk that is full."""

import sqlite3
from pathlib import Path

import pytest

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.indexing.journal import open_journal
from cl_haystack.opensearch.indexing.report import IndexingReport
from cl_haystack.opensearch.indexing.unfinished import carry_report, report_of


def test_a_full_disk_is_one_of_our_errors_and_names_the_file(tmp_path: Path) -> None:
    path, report = tmp_path / "job.journal", IndexingReport("docs", 3, 0, 3, 0, 3, 0, 0, {"total": 1.0})

    def run_out_of_space() -> None:
        with open_journal(path, {"index": "docs"}) as (journal, _):
            assert journal._connection is not None
            journal._connection.execute("PRAGMA max_page_count = 1")  # stands for the disk
            try:
                for number in range(10_000):
                    journal.begin(number, b"x" * 1_000)
            except sqlite3.Error as error:
                carry_report(error, report)
                raise

    with pytest.raises(IndexingError, match=r"job\.journal: .*is full.*run the job again") as caught:
        run_out_of_space()
    assert report_of(caught.value) is report
    with open_journal(path, {"index": "docs"}) as (journal, _):
        assert journal.has_begun(0, b"x" * 1_000)
