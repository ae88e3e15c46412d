"""Rows of CSV: what a writer of CSV writes comes back, and a stray quote costs the row in which it stands."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.data.csv_rows import CsvRows, separator_of
from cl_haystack.data.lines import Faults

CELLS = st.text(st.sampled_from('ab,"\n\r\té'), max_size=6)


def read(path: Path, content: bytes) -> tuple[list[tuple[int, list[str]]], Faults]:
    path.write_bytes(content)
    faults = Faults()
    return list(CsvRows(path, ",", faults)), faults


@given(rows=st.lists(st.tuples(CELLS, CELLS).filter(any), max_size=20))
def test_what_was_written_comes_back(tmp_path_factory, rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    found, faults = read(tmp_path_factory.getbasetemp() / "rows.csv", text.getvalue().encode())
    assert [tuple(cells) for _, cells in found] == rows
    assert not faults.count


def numbered(count: int) -> list[bytes]:
    return [b"anchor,positive\n", *(b"question %d,answer %d\n" % (i, i) for i in range(2, count + 1))]


def test_a_quote_that_is_never_closed_costs_its_row(tmp_path):
    lines = numbered(12_000)
    lines[4] = b'"question 5,answer 5\n'
    found, faults = read(tmp_path / "rows.csv", b"".join(lines))
    assert [line for line, _ in found] == [1, 2, 3, 4, *range(6, 12_001)]
    assert faults.first == [
        "line 5: a quote that opens here is not closed within 10,000 lines; check the quotes of this row"
    ]
    found, faults = read(tmp_path / "rows.csv", b"".join(lines[:100]))
    assert [line for line, _ in found] == [1, 2, 3, 4, *range(6, 101)]
    assert faults.first == ["line 5: unexpected end of data; check the quotes of this row"]


def test_two_stray_quotes_do_not_swallow_the_rows_between(tmp_path):
    lines = numbered(1_000)
    lines[4] = b'question 5,"answer 5\n'
    lines[499] = b'question 500",answer 500\n'
    found, faults = read(tmp_path / "rows.csv", b"".join(lines))
    assert [line for line, _ in found] == [1, 2, 3, 4, *range(6, 1_001)]
    assert faults.count == 1
    assert faults.first[0].startswith("line 5: a quote that opens here is closed 495 lines below")


def test_a_long_text_with_line_ends_is_one_cell(tmp_path):
    poem = "\n".join(f"line {i}" + ", and more" * (i % 3) for i in range(30))
    found, faults = read(tmp_path / "rows.csv", f'anchor,positive\nq,"{poem}"\n'.encode())
    assert found[1] == (2, ["q", poem])
    assert not faults.count


def test_a_row_that_lacks_a_line_is_not_taken_for_whole(tmp_path):
    content = b'anchor,positive\nq,"do\n\xffnot\nworry"\nr,s\n'
    found, faults = read(tmp_path / "rows.csv", content)
    assert [cells for _, cells in found] == [["anchor", "positive"], ["r", "s"]]
    assert faults.first[0].startswith("line 3: byte 0xff")
    assert faults.first[1] == "line 2: a line of this row cannot be read"


@pytest.mark.parametrize(
    ("name", "header", "separator"),
    [
        ("a.csv", "anchor,positive", ","),
        ("a.csv", "\ufeffFrage;Antwort;Datum, Uhrzeit", ";"),
        ("a.csv", '"a;b;c",positive', ","),
        ("a.csv", "anchor\tpositive", "\t"),
        ("a.CSV", "anchor", ","),
        ("a.csv", '"anchor', ","),
        ("a.csv", "", ","),
        ("a.tsv", "a,b,c\td", "\t"),
    ],
)
def test_the_header_tells_the_separator(name, header, separator, tmp_path):
    path = tmp_path / name
    path.write_text(f"{header}\n1,2;3\t4\n" if header else "")
    assert separator_of(path) == separator
