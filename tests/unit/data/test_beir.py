import logging

import pytest

from cl_haystack.data import CorpusDocument, read_beir, read_corpus, read_qrels, read_queries
from cl_haystack.data.corpus import to_haystack_document
from cl_haystack.errors import DataError

HEADER = "query-id\tcorpus-id\tscore\n"


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "T", "text": "text one", "year": 1999}\n'
        '{"_id": "d2", "title": "", "text": "text two", "metadata": {"url": "u"}}\n'
        '{"_id": 3, "title": "only title", "metadata": {}}\n'
    )
    (tmp_path / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "one?", "metadata": {}}\n'
        '{"_id": "q2", "text": "two?"}\n{"_id": "q3", "text": "?"}\n'
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(HEADER + "q1\td1\t2\nq1\td2\t0\nq2\td2\t1\n")
    (tmp_path / "qrels" / "dev.tsv").write_text(HEADER + "q3\t3\t1\n")
    return tmp_path


def test_a_task_holds_judged_queries_only(directory, caplog):
    task = read_beir(directory, "test")
    assert task.name == f"{directory.name}/test"
    assert task.queries == {"q1": "one?", "q2": "two?"}
    assert task.qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}
    assert task.num_documents == 3
    assert caplog.records == []


def test_documents_join_title_and_text_and_keep_the_rest_as_meta(directory):
    assert list(read_beir(directory, "test").corpus()) == [
        CorpusDocument("d1", "T", "text one", {"year": 1999}),
        CorpusDocument("d2", "", "text two", {"url": "u"}),
        CorpusDocument("3", "only title", "", {}),
    ]
    contents = [document.content for document in read_corpus(directory / "corpus.jsonl")]
    assert contents == ["T text one", "text two", "only title"]


def test_a_haystack_document_has_the_same_id_content_and_meta():
    document = to_haystack_document(CorpusDocument("d1", "T", "text", {"year": 1999}))
    assert (document.id, document.content, document.meta) == ("d1", "T text", {"title": "T", "year": 1999})
    assert to_haystack_document(CorpusDocument("d2", "", "text")).meta == {}


def test_an_unknown_split_names_the_splits_that_exist(directory):
    with pytest.raises(DataError, match="no split 'train'; it has dev, test"):
        read_beir(directory, "train")


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_missing_file_is_named(directory, name):
    (directory / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: no such file"):
        read_beir(directory, "test")


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(DataError, match="found nothing; expected a directory"):
        read_beir(tmp_path / "none", "test")
    with pytest.raises(DataError, match="it has no qrels"):
        read_beir(tmp_path, "test")


def test_unknown_ids_are_counted_and_said(directory, caplog):
    caplog.set_level(logging.WARNING)
    with (directory / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\tgone\t1\nq1\tgone2\t1\nq9\td1\t1\nq3\td1\t0\n")
    task = read_beir(directory, "test")
    assert set(task.qrels) == set(task.queries) == {"q1", "q2", "q3"}
    assert task.qrels["q1"] == {"d1": 2, "d2": 0, "gone": 1, "gone2": 1}
    messages = [record.getMessage().split(": ", 1)[1] for record in caplog.records]
    assert messages == [
        "2 judged documents are not in the corpus; nothing can find them ('gone', 'gone2')",
        "1 judged queries are not in queries.jsonl and left out ('q9')",
        "1 queries have no relevant document and score 0 whatever the system ('q3')",
    ]
    assert [str(oddity) for oddity in task.oddities][:3] == messages


def test_queries_without_judgements_are_counted_and_named_but_no_reason_to_warn(directory, caplog):
    with (directory / "queries.jsonl").open("a") as file:
        file.writelines(f'\n{{"_id": "other{i}", "text": "x"}}' for i in range(7))
    assert [str(oddity) for oddity in read_beir(directory, "test").oddities] == [
        "8 queries of queries.jsonl have no judgement in this split "
        "('q3', 'other0', 'other1', 'other2', 'other3', …)"
    ]
    assert caplog.records == []


def test_a_split_whose_queries_are_all_unknown_is_an_error(directory):
    (directory / "qrels" / "odd.tsv").write_text(HEADER + "q9\td1\t1\n")
    with pytest.raises(DataError, match=r"no query of split 'odd' is in queries\.jsonl"):
        read_beir(directory, "odd")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"_id": "d1", "text": "again"}', "'d1' is there a second time"),
        ('{"id": "x", "text": "t"}', "no '_id' in 'id, text'"),
        ('{"_id": "", "text": "t"}', "'_id' is ''"),
        ('{"_id": true, "text": "t"}', "'_id' is 'True'"),
        ('{"_id": "x", "content": "t"}', "found the fields '_id, content'"),
        ('{"_id": "x", "text": ["t"]}', "expected a text"),
        ("{", "expected one JSON object"),
    ],
)
def test_a_broken_document_is_named_and_left_out_of_a_task(directory, line, part):
    before = list(read_corpus(directory / "corpus.jsonl"))
    with (directory / "corpus.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(DataError) as caught:
        list(read_corpus(directory / "corpus.jsonl"))
    assert caught.value.line == 4
    assert part in str(caught.value)
    task = read_beir(directory, "test")
    assert (task.num_documents, list(task.corpus())) == (3, before)
    [oddity, _] = task.oddities
    assert oddity.what.startswith("lines of corpus.jsonl")
    assert oddity.examples == (f"line 4: {caught.value.problem}",)


def test_broken_and_repeated_lines_make_a_task_smaller_and_are_counted(directory):
    with (directory / "queries.jsonl").open("ab") as file:
        file.write('\n{"_id": "q1", "text": "again"}\n{"_id": "q8", "text": "Käse"}\n{'.encode("latin-1"))
    with (directory / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\td1\t0\nq2 d1 1\nq2\td2\t1.5\n")
    with (directory / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d1", "text": "again"}\n' * 2 + '{"_id": "d9"}\n{"_id": "d4", "text": "x"}\n')
    task = read_beir(directory, "test")
    assert task.qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}
    assert task.num_documents == len(list(task.corpus())) == 4
    assert [(oddity.count, oddity.examples[0][:6]) for oddity in task.oddities] == [
        (1, "line 6"), (2, "line 4"), (3, "line 5"), (3, "line 5"), (1, "q3"),
    ]  # fmt: skip
    (directory / "corpus.jsonl").write_text("{\n[1]\n")
    with pytest.raises(DataError, match="holds no document; line 1: unexpected end"):
        read_beir(directory, "test")


def test_ids_are_not_held_when_told_so(directory):
    path = directory / "corpus.jsonl"
    path.write_text(path.read_text() * 2)
    assert len(list(read_corpus(path, unique_ids=False))) == 6


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"_id": "q1", "text": "again"}', "'q1' is there a second time"),
        ('{"_id": "q5", "text": " "}', "'text' is"),
        ('{"_id": "q5"}', "'text' is missing"),
    ],
)
def test_a_broken_query_is_named(directory, line, part):
    with (directory / "queries.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(DataError) as caught:
        read_queries(directory / "queries.jsonl")
    assert caught.value.line == 4
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        ("q1\td1\t1\n", 1, "expected the header"),
        (HEADER + "q1 d1 1\n", 2, "separated by tabs"),
        (HEADER + "\nq1\td1\tyes\n", 3, "grade 'yes'; expected a whole number"),
        (HEADER + "q1\td1\t1000001\n", 2, "grade '1000001'; expected a whole number of at most 1,000,000"),
        (HEADER + "q1\t\t1\n", 2, "expected query id, document id and grade"),
        (HEADER + "q1\td1\t1\nq1\td1\t2\n", 3, "grade 2 contradicts 1"),
        (HEADER, None, "no judgement"),
        ("", None, "no judgement"),
    ],
)
def test_broken_judgements_are_named(tmp_path, content, line, part):
    path = tmp_path / "test.tsv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_qrels(path)
    assert caught.value.line == line
    assert part in str(caught.value)


def test_repeated_and_negative_judgements_are_read(tmp_path, caplog):
    path = tmp_path / "test.tsv"
    path.write_bytes(
        b"\xef\xbb\xbf" + (HEADER + "q1\td1\t1\nq1\td1\t1\nq1\td2\t-1\n").replace("\n", "\r\n").encode()
    )
    assert read_qrels(path) == {"q1": {"d1": 1, "d2": -1}}
    assert "1 judgements are there more than once" in caplog.text
