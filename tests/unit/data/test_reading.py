import sys

import orjson
import pytest

from cl_haystack.data import Pair, read_pairs, write_pairs
from cl_haystack.data.corpus_parts import split_corpus
from cl_haystack.data.lines import Faults
from cl_haystack.data.reading import read_numbered_pairs
from cl_haystack.errors import DataError, MissingExtraError

GOOD = b'{"anchor": "a", "positive": "p"}\n'


def write(tmp_path, content, name="pairs.jsonl"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def read(tmp_path, content, name="pairs.jsonl"):
    return list(read_pairs(write(tmp_path, content, name)))


def fault(tmp_path, content, name="pairs.jsonl"):
    """Return line and message of the error that reading ends with."""
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, name)
    assert caught.value.path == tmp_path / name
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    return caught.value.line, caught.value.problem


def test_every_field_is_read(tmp_path):
    record = {"anchor": "a", "positive": "p", "negatives": ["n", "m"], "score": 0.5, "label": 1}
    record |= {"source": "s", "weight": 2.5, "candidate_scores": [11.5, -3, 0.25]}
    assert read(tmp_path, orjson.dumps(record)) == [
        Pair(
            anchor="a",
            positive="p",
            negatives=("n", "m"),
            score=0.5,
            label=1,
            source="s",
            weight=2.5,
            candidate_scores=(11.5, -3.0, 0.25),
        )
    ]


def test_negative_is_one_of_negatives_and_null_is_absent(tmp_path):
    one, none = read(
        tmp_path,
        b'{"anchor": "a", "positive": "p", "negative": "n"}\n'
        b'{"anchor": "a", "positive": "p", "negatives": null, "negative": null, "weight": null}\n',
    )
    assert one.negatives == ("n",)
    assert none == Pair(anchor="a", positive="p")


def test_byte_order_mark_crlf_and_blank_lines_are_normal(tmp_path):
    content = b"\xef\xbb\xbf\r\n" + GOOD.replace(b"\n", b"\r\n") + b"  \r\n\r\n" + GOOD.rstrip()
    assert read(tmp_path, content) == [Pair(anchor="a", positive="p")] * 2


def test_texts_are_kept_as_they_are(tmp_path):
    text = "  Größe\t漢字 \U0001f600\u2028 end\n"
    assert read(tmp_path, orjson.dumps({"anchor": text, "positive": text}))[0].anchor == text


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (b'{"anchor": "a", "positive": }', ["position 29", "expected one JSON object on each line"]),
        (b'{"anchor": "a", "positive": "p"} {}', ["expected one JSON object on each line"]),
        (b'["a", "p"]', ["""'["a", "p"]'""", "expected one JSON object on each line", "jq"]),
        (b'[\n{"anchor": "a", "positive": "p"}]', ["expected one JSON object on each line", "jq"]),
        (b'{"anchor": "\xff", "positive": "p"}', ["byte 0xff at position 13", "save the file as UTF-8"]),
        (b'{"anchor": "\\ud800", "positive": "p"}', ["expected one JSON object"]),
        (b'{"anchor": "a"}', ["no field 'positive'", "a text with at least one visible character"]),
        (b'{"anchor": "", "positive": "p"}', ["field 'anchor' is an empty text", "remove the record"]),
        (b'{"anchor": "a", "positive": " \\u00a0\\t"}', ["field 'positive' is an empty text"]),
        (b'{"anchor": null, "positive": "p"}', ["field 'anchor' is null"]),
        (b'{"anchor": 5, "positive": "p"}', ["field 'anchor' is '5'"]),
        (b'{"anchor": "a", "positive": "p", "negatives": ["n", " "]}', ["'negatives' holds an empty text"]),
        (b'{"anchor": "a", "positive": "p", "negatives": "n"}', ["'negatives' is the text 'n'", "a list"]),
        (b'{"anchor": "a", "positive": "p", "negative": "n", "negatives": ["m"]}', ["both 'negative' and"]),
        (b'{"anchor": "a", "positive": "p", "score": 1.5}', ["'score' is '1.5'", "from 0 to 1"]),
        (b'{"anchor": "a", "positive": "p", "label": 2}', ["'label' is '2'", "0 or 1"]),
        (b'{"anchor": "a", "positive": "p", "weight": 0}', ["'weight' is '0'", "greater than 0"]),
        (
            b'{"anchor": "a", "positive": "p", "negative": "n", "candidate_scores": [1]}',
            ["'candidate_scores' holds 1 numbers; expected 2", "each of 1 negatives", "remove the field"],
        ),
        (
            b'{"anchor": "a", "positive": "p", "candidate_scores": []}',
            ["'candidate_scores' holds 0 numbers; expected 1"],
        ),
        (
            b'{"anchor": "a", "positive": "p", "candidate_scores": ["high"]}',
            ["'candidate_scores' holds the text 'high'", "a list of finite numbers"],
        ),
        (
            b'{"candidate_scores": [1], "anchor": "a", "positive": "p", "negatives": "n"}',
            ["'negatives' is the text 'n'"],
        ),
        (b'{"anchor": "a", "positive": "p", "query": "q"}', ["unknown field 'query'", "anchor, positive"]),
    ],
)
def test_a_broken_line_is_named_with_what_was_found_and_expected(tmp_path, line, parts):
    number, problem = fault(tmp_path, GOOD + b"\n" + line + b"\n" + GOOD)
    assert number == 3
    for part in parts:
        assert part in problem


@pytest.mark.parametrize("content", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv"])
def test_a_file_without_records_is_an_error(tmp_path, content, name):
    _, problem = fault(tmp_path, content, name)
    assert "expected" in problem


def test_a_long_text_is_quoted_short(tmp_path):
    _, problem = fault(tmp_path, b'{"anchor": "a", "positive": "' + b"x" * 10_000)
    assert len(problem) < 300


def test_records_before_the_broken_one_are_delivered(tmp_path):
    pairs = read_pairs(write(tmp_path, GOOD + b"broken"))
    assert next(pairs) == Pair(anchor="a", positive="p")
    with pytest.raises(DataError):
        next(pairs)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_read_where_its_mark_says_so(tmp_path, encoding):
    lines = ['{"anchor": "Käse \U0001f600 \u0a0a", "positive": "p"}', "", '{"anchor": 1}']
    content = ("\ufeff" + "\r\n".join(lines)).encode(encoding)
    path = write(tmp_path, content)
    pairs = read_pairs(path)
    assert next(pairs).anchor == "Käse \U0001f600 \u0a0a"
    with pytest.raises(DataError, match=r"pairs.jsonl:3: field 'anchor' is '1'"):
        next(pairs)
    half = content.replace("\U0001f600".encode(encoding), "\ud83d".encode(encoding, "surrogatepass"))
    assert "half a character at position" in fault(tmp_path, half)[1]
    faults = Faults()
    cut_off = content.removesuffix("}".encode(encoding)) + b"}"  # one byte of two
    assert [number for number, _ in read_numbered_pairs(write(tmp_path, cut_off), faults)] == [1]
    assert faults.first == ["line 3: half a character at position 13; the file may be cut off there"]
    with pytest.raises(DataError, match="UTF-16, which is not read in parts"):
        split_corpus(write(tmp_path, content), 100)


def test_missing_file_directory_and_unknown_ending(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        list(read_pairs(tmp_path / "none.jsonl"))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="found a directory"):
        list(read_pairs(tmp_path / "folder.jsonl"))
    with pytest.raises(DataError, match=r"unknown ending '\.txt'.*\.jsonl"):
        read_pairs(tmp_path / "pairs.txt")


def test_csv_with_quotes_newlines_lists_and_empty_cells(tmp_path):
    content = (
        "\ufeffanchor,positive,negatives,score,label,candidate_scores\r\n"
        '"a, with ""comma""","two\r\nlines","[""n"", ""m""]",0.25,1,"[2, 1, 0]"\r\n'
        "\r\n"
        "b,q,,,,\r\n"
    )
    assert read(tmp_path, content.encode(), "pairs.csv") == [
        Pair(
            anchor='a, with "comma"',
            positive="two\r\nlines",
            negatives=("n", "m"),
            score=0.25,
            label=1,
            candidate_scores=(2, 1, 0),
        ),
        Pair(anchor="b", positive="q"),
    ]


def test_tsv_and_a_cell_larger_than_the_csv_module_allows(tmp_path):
    huge = "x" * 200_000
    assert read(tmp_path, f"positive\tanchor\n{huge}\ta\n".encode(), "pairs.tsv") == [
        Pair(anchor="a", positive=huge)
    ]


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        (b"anchor,text\na,b\n", 1, "'positive' in it"),
        (b"anchor,positive,extra\na,b,c\n", 1, "unknown field 'extra'"),
        (b"anchor,positive,anchor\na,b,c\n", 1, "twice"),
        (b'anchor,positive\n"two\nlines",p\na,b,c\n', 4, "found 3 cells; expected 2"),
        (b"anchor,positive\na,\n", 2, "field 'positive' is an empty text"),
        (b'anchor,positive\na,"b\n', 2, "check the quotes"),
        (b"anchor,positive\na,b\n\xff,c\n", 3, "0xff"),
        (b"anchor,positive,negatives\na,b,c\n", 2, "expected a JSON list"),
        (b"anchor,positive,candidate_scores\na,b,c\n", 2, "expected a JSON list of numbers"),
        (b'anchor,positive,candidate_scores\na,b,"[1, 2]"\n', 2, "holds 2 numbers; expected 1"),
        (b"anchor,positive\n", None, "no row"),
    ],
)
def test_a_broken_table_is_named(tmp_path, content, line, part):
    found_line, problem = fault(tmp_path, content, "pairs.csv")
    assert found_line == line
    assert part in problem


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow, which comes with [train]")
    import pyarrow.parquet as pq

    rows = [
        {"anchor": "a", "positive": "p", "negatives": ["n"], "score": 0.5, "candidate_scores": [0.5, -1.0]},
        {"anchor": "b", "positive": "q", "negatives": None, "score": None, "candidate_scores": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    assert list(read_pairs(tmp_path / "pairs.parquet")) == [
        Pair(anchor="a", positive="p", negatives=("n",), score=0.5, candidate_scores=(0.5, -1)),
        Pair(anchor="b", positive="q"),
    ]
    assert "no readable Parquet file" in fault(tmp_path, b"not parquet", "broken.parquet")[1]


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"cl-haystack\[train\]"):
        read(tmp_path, b"", "pairs.parquet")


def test_written_pairs_are_read_back(tmp_path):
    pairs = [
        Pair(anchor="a", positive="p"),
        Pair(anchor="ä\n", positive="p", negatives=("n",), score=0.1, label=0, source="s", weight=3),
        Pair(anchor="a", positive="p", source="title", document_id="42"),
        Pair(anchor="a", positive="p", negatives=("n", "m"), candidate_scores=(0.1 + 0.2, -1e300, 0)),
    ]
    path = tmp_path / "new" / "pairs.jsonl"
    assert write_pairs(pairs, path) == 4
    assert list(read_pairs(path)) == pairs
    assert path.read_bytes().splitlines()[0] == b'{"anchor":"a","positive":"p"}'


def test_an_interrupted_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = write(tmp_path, GOOD)

    def interrupted():
        yield Pair(anchor="x", positive="y")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(interrupted(), path)
    assert path.read_bytes() == GOOD
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_named(tmp_path):
    blocked = write(tmp_path, b"a file, not a folder", "folder")
    with pytest.raises(DataError, match="cannot be written"):
        write_pairs([], blocked / "pairs.jsonl")
    with pytest.raises(DataError, match=r"use \.jsonl"):
        write_pairs([], tmp_path / "pairs.csv")


@pytest.mark.parametrize("scores", [(float("nan"), 1.0), (1.0, float("inf")), (1.0,), (1.0, 2.0, 3.0)])
def test_a_pair_refuses_scores_that_are_not_finite_or_not_one_a_candidate(scores):
    with pytest.raises(ValueError, match="candidate_scores"):
        Pair(anchor="a", positive="p", negatives=("n",), candidate_scores=scores)


def test_a_line_too_deep_to_be_written_again_is_a_fault(tmp_path):
    deep = '{"anchor": ' + "[" * 300 + "]" * 300 + ', "positive": "p"}'
    path = tmp_path / "pairs.jsonl"
    path.write_text(f'{deep}\n{{"anchor": "a", "positive": "p"}}\n')
    faults = Faults()
    assert [line for line, _ in read_numbered_pairs(path, faults)] == [2]
    assert faults.first == ["line 1: is nested too deep to be written again"]
