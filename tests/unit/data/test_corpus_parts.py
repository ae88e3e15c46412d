"""Parts of a corpus: together they are the corpus, whatever their size."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.data import read_corpus
from cl_haystack.data.corpus_parts import read_part, split_corpus
from cl_haystack.errors import DataError


@given(
    texts=st.lists(st.text(max_size=30), min_size=1, max_size=20),
    part_bytes=st.integers(1, 400),
    blank=st.booleans(),
    mark=st.booleans(),
)
def test_parts_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], part_bytes: int, blank: bool, mark: bool
) -> None:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    lines = [json.dumps({"_id": str(number), "text": text}) for number, text in enumerate(texts)]
    content = ("\n\n" if blank else "\n").join(lines).encode()
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + content)
    parts = split_corpus(path, part_bytes)
    assert [document for part in parts for document in read_part(part)] == list(read_corpus(path))
    assert sum(part.num_documents for part in parts) == content.count(b"\n") + 1
    assert parts[0].start == 0
    assert parts[-1].end == path.stat().st_size


def test_parquet_is_cut_at_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    table = pa.table({"_id": [str(n) for n in range(50)], "text": [f"text {n}" for n in range(50)]})
    pq.write_table(table, path, row_group_size=8)
    parts = split_corpus(path, 1)
    assert [part.num_documents for part in parts] == [8] * 6 + [2]
    documents = [document for part in parts for document in read_part(part)]
    assert documents == list(read_corpus(path))
    assert documents[49].content == "text 49"
    assert len(split_corpus(path, 10**9)) == 1


def test_faults_name_the_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"_id": "1", "text": "a"}\n' * 5 + '{"_id": 2.5, "text": "b"}\n')
    *_, last = split_corpus(path, 1)
    with pytest.raises(DataError, match=r"corpus\.jsonl:6: "):
        list(read_part(last))
    with pytest.raises(DataError, match="no such file"):
        split_corpus(tmp_path / "nothing.jsonl", 1)
    (tmp_path / "x.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match="no readable Parquet file"):
        split_corpus(tmp_path / "x.parquet", 1)
