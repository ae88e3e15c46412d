"""Tables with two columns of texts become pairs; rows that cannot are counted and named."""

from datetime import date

import pytest

from cl_haystack.data import Pair
from cl_haystack.data.tables import Columns, TableCounts, pairs_from_table
from cl_haystack.errors import DataError


def test_columns_are_guessed_from_their_names(tmp_path):
    (tmp_path / "faq.csv").write_text("ID,Question,Answer\n1, How? ,Like this.\n2,Why?,\n")
    counts = TableCounts()
    assert list(pairs_from_table(tmp_path / "faq.csv", counts)) == [
        Pair(anchor="How?", positive="Like this.", source="faq.csv")
    ]
    assert counts == TableCounts(pairs=1, without_text=1)


def test_labels_and_grades_are_read_and_broken_rows_are_named(tmp_path):
    (tmp_path / "dup.tsv").write_text(
        "question1\tquestion2\tis_duplicate\na\tb\tTrue\nc\td\t0\ne\tf\tperhaps\ng\n"
    )
    faults = []
    pairs = list(
        pairs_from_table(tmp_path / "dup.tsv", TableCounts(), on_fault=lambda f, _: faults.append(f))
    )
    assert [pair.label for pair in pairs] == [1, 0]
    assert [fault.line for fault in faults] == [4, 5]
    (tmp_path / "sts.jsonl").write_text(
        '{"s1": "a", "s2": "b", "gold": 4}\n{"s1": "a", "s2": "c", "gold": 7}\n'
    )
    counts = TableCounts()
    columns = Columns("s1", "s2", score="gold")
    [pair] = pairs_from_table(tmp_path / "sts.jsonl", counts, columns=columns, max_score=5)
    assert pair.score == 0.8
    assert counts.unreadable == 1


@pytest.mark.parametrize("columns", [None, Columns("question1", "question2", label="is_duplicate")])
def test_a_column_counts_that_only_later_records_have(tmp_path, columns):
    rows = ['{"question1": "a", "question2": "b"}', "broken"]
    rows += ['{"question1": "c", "question2": "d", "is_duplicate": 0}']
    (tmp_path / "dup.jsonl").write_text("\n".join(rows))
    faults, counts = [], TableCounts()
    pairs = list(
        pairs_from_table(
            tmp_path / "dup.jsonl", counts, columns=columns, on_fault=lambda f, _: faults.append(f)
        )
    )
    assert [(pair.anchor, pair.label) for pair in pairs] == [("c", 0)]
    assert (faults[0].line, faults[0].problem) == (1, "there is no label; expected 0 or 1")
    assert counts == TableCounts(pairs=1, unreadable=2)


def test_parquet_is_read(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = {
        "query": ["a", None],
        "document": ["b", "c"],
        "class": [7, None],
        "day": [date(2026, 1, 2), None],
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    counts = TableCounts()
    columns = Columns("query", "document", topic="class", time="day")
    [pair] = pairs_from_table(tmp_path / "t.parquet", counts, columns=columns)
    assert (pair.positive, pair.topic, pair.time) == ("b", "7", "2026-01-02")
    assert counts.without_text == 1


def test_columns_in_doubt_are_asked_for(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"found the columns 'a, b'.*question/answer.*name the two"):
        pairs_from_table(tmp_path / "t.csv", TableCounts())
    with pytest.raises(DataError, match=r"no column 'c'; it has a, b"):
        pairs_from_table(tmp_path / "t.csv", TableCounts(), columns=Columns("a", "c"))
