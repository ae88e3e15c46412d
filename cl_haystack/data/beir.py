"""Retrieval tasks in BEIR's layout: a corpus, queries, and judgements by split.

    DIRECTORY/corpus.jsonl        _id, title, text
    DIRECTORY/queries.jsonl       _id, text
    DIRECTORY/qrels/<split>.tsv   query-id, corpus-id, score, with a header

What makes a task unusable is a :class:`DataError`; what only makes it smaller or odd, broken lines and
repeated ids included, is counted, named and logged as a warning: published sets have such spots, and their
published figures include them.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cl_haystack.data.corpus import read_corpus, read_numbered_corpus, record_id
from cl_haystack.data.lines import Faults, OnFault, read_json_objects, read_text_lines, refuse
from cl_haystack.data.records import CorpusDocument
from cl_haystack.errors import DataError, quote

logger = logging.getLogger(__name__)

Qrels = dict[str, dict[str, int]]

MAX_GRADE = 1_000_000
"""Of a judgement: trec_eval keeps a table that is as long as the highest grade."""
_HEADER = ["query-id", "corpus-id", "score"]
_NUM_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something that makes a task smaller or odd, and that whoever reads its figures should know.

    :param what: in words.
    :param count: how many there are.
    :param examples: ids of the first ones.
    """

    what: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.examples) else ""
        named = f" ({', '.join(quote(name) for name in self.examples)}{more})" if self.examples else ""
        return f"{self.count:,} {self.what}{named}"


def odd(what: str, names: Iterable[str]) -> list[Oddity]:
    """Count and name what is odd.

    :param what: in words.
    :param names: ids or texts.
    :returns: one oddity with the first names as examples; none where there are no names.
    """
    found = list(names)
    return [Oddity(what, len(found), tuple(found[:_NUM_EXAMPLES]))] if found else []


def odd_lines(what: str, faults: Faults) -> list[Oddity]:
    """Count and name lines that could not be used.

    :param what: in words.
    :param faults: the lines.
    :returns: one oddity with the first lines as examples; none where there are no lines.
    """
    return [Oddity(what, faults.count, tuple(faults.first))] if faults.count else []


@dataclass(frozen=True)
class RetrievalTask:
    """Questions with known answers in a corpus.

    :param name: the directory's name and the split, such as ``scifact/test``.
    :param corpus_path: the corpus, read when it is needed and never held.
    :param num_documents: documents in the corpus.
    :param queries: text by query id; only queries that have judgements.
    :param qrels: grade by query id and document id; > 0 is relevant.
    :param oddities: what was found while reading and left out, or cannot be found by any system.
    :param left_out: lines of the corpus that are no document or repeat an id.
    """

    name: str
    corpus_path: Path
    num_documents: int
    queries: dict[str, str]
    qrels: Qrels
    oddities: tuple[Oddity, ...] = ()
    left_out: frozenset[int] = frozenset()

    def corpus(self) -> Iterator[CorpusDocument]:
        """Read the documents, one at a time."""
        documents = read_numbered_corpus(self.corpus_path, Faults() if self.left_out else refuse)
        return (document for line, document in documents if line not in self.left_out)

    def relevant(self, query_id: str) -> set[str]:
        """Return the ids of the documents that answer a query."""
        return {document_id for document_id, grade in self.qrels.get(query_id, {}).items() if grade > 0}


def read_beir(directory: str | Path, split: str) -> RetrievalTask:
    """Read a task, passing over the corpus once to check ids.

    Judgements of documents that the corpus lacks are kept: no system can find them, so they lower recall
    for all. Judgements of queries without text are left out, and so are queries without judgements, lines
    that cannot be read, and whatever has an id that was there before. All are counted and named in
    ``oddities``; all but queries without judgements, which every split has, are logged too.

    :param directory: a directory in BEIR's layout.
    :param split: which judgements, such as ``test``.
    :returns: the task.
    :raises DataError: a file is missing or holds nothing that can be used, the split does not exist, or no
        judged query has a text.
    """
    directory = Path(directory)
    if not directory.is_dir():
        found = "a file" if directory.exists() else "nothing"
        raise DataError(f"found {found}; expected a directory in BEIR's layout", path=directory)
    bad_judgements, bad_queries = Faults(), Faults()
    qrels = read_qrels(_split_file(directory, split), bad_judgements)
    queries = read_queries(directory / "queries.jsonl", bad_queries)
    corpus = _look_over(directory / "corpus.jsonl", qrels)
    judged = {query_id: grades for query_id, grades in qrels.items() if query_id in queries}
    name = f"{directory.resolve().name}/{split}"
    if not judged:
        raise DataError(f"no query of split {split!r} is in queries.jsonl; check the ids", path=directory)
    hopeless = [query_id for query_id, grades in judged.items() if max(grades.values()) <= 0]
    oddities = [
        *odd_lines("lines of corpus.jsonl are no document and left out", corpus.bad),
        *odd_lines("lines of corpus.jsonl repeat an id and are left out", corpus.repeated),
        *odd_lines("lines of queries.jsonl are no query, or repeat an id, and are left out", bad_queries),
        *odd_lines(f"lines of {split}.tsv are no judgement, or contradict one, and left out", bad_judgements),
        *odd("judged documents are not in the corpus; nothing can find them", corpus.missing),
        *odd("judged queries are not in queries.jsonl and left out", (q for q in qrels if q not in queries)),
        *odd("queries have no relevant document and score 0 whatever the system", hopeless),
    ]
    for oddity in oddities:
        logger.warning("%s: %s", name, oddity)
    oddities += odd(
        "queries of queries.jsonl have no judgement in this split", (q for q in queries if q not in qrels)
    )
    return RetrievalTask(
        name=name,
        corpus_path=directory / "corpus.jsonl",
        num_documents=corpus.num_documents,
        queries={query_id: queries[query_id] for query_id in judged},
        qrels=judged,
        oddities=tuple(oddities),
        left_out=frozenset(corpus.left_out),
    )


def read_queries(path: str | Path, on_fault: OnFault = refuse) -> dict[str, str]:
    """Read queries: ``_id`` and ``text`` on each line, other fields are ignored.

    :param path: a JSONL file.
    :param on_fault: told each line that is no query, or has an id that was there before: the first stays.
    :returns: text by query id, in the order of the file.
    :raises DataError: the file is missing or holds no query, or a line cannot be used and nobody wants to
        know.
    """
    path = Path(path)
    queries: dict[str, str] = {}
    for line, record in read_json_objects(path, on_fault):
        try:
            query_id, text = _query(record, path, line)
            if query_id in queries:
                problem = f"query {quote(query_id)} is there a second time; remove one"
                raise DataError(problem, path=path, line=line)
        except DataError as fault:
            on_fault(fault, b"")
        else:
            queries[query_id] = text
    if not queries:
        raise DataError("the file holds no query; expected '_id' and 'text' on each line", path=path)
    return queries


def read_qrels(path: str | Path, on_fault: OnFault = refuse) -> Qrels:
    """Read judgements: tab-separated with the header ``query-id corpus-id score``.

    :param path: a TSV file.
    :param on_fault: told each line that is no judgement, or contradicts one above, which stays.
    :returns: grade by query id and document id; > 0 is relevant.
    :raises DataError: the file is missing, has no header or no judgement, or a line cannot be used and nobody
        wants to know.
    """
    path = Path(path)
    qrels: Qrels = {}
    header_seen = False
    repeated = 0
    for line, text in read_text_lines(path, on_fault):
        cells = [cell.strip() for cell in text.split("\t")]
        if not any(cells):
            continue
        if not header_seen:
            _check_header(cells, path, line)
            header_seen = True
            continue
        try:
            query_id, document_id, grade = _judgement(cells, path, line)
        except DataError as fault:
            on_fault(fault, text.encode())
            continue
        grades = qrels.setdefault(query_id, {})
        repeated += grades.get(document_id) == grade
        if grades.setdefault(document_id, grade) != grade:
            problem = f"query {quote(query_id)}, document {quote(document_id)}: grade {grade} contradicts"
            problem += f" {grades[document_id]} above; remove one"
            on_fault(DataError(problem, path=path, line=line), text.encode())
    if not qrels:
        raise DataError("the file holds no judgement; expected a header and one a line", path=path)
    if repeated:
        logger.warning("%s: %d judgements are there more than once, with the same grade", path, repeated)
    return qrels


def _split_file(directory: Path, split: str) -> Path:
    folder = directory / "qrels"
    known = sorted(file.stem for file in folder.glob("*.tsv"))
    if split not in known:
        have = f"it has {', '.join(known)}" if known else "it has no qrels/*.tsv at all"
        raise DataError(f"no split {split!r}; {have}", path=directory)
    return folder / f"{split}.tsv"


@dataclass
class _Corpus:
    """What a pass over a corpus found."""

    missing: list[str]
    """Judged documents that it lacks."""
    num_documents: int = 0
    bad: Faults = field(default_factory=Faults)
    repeated: Faults = field(default_factory=Faults)
    left_out: set[int] = field(default_factory=set)


def _look_over(path: Path, qrels: Qrels) -> _Corpus:
    found = _Corpus([])
    missing = {document_id for grades in qrels.values() for document_id in grades}

    def leave_out(faults: Faults) -> OnFault:
        def note(fault: DataError, line: bytes) -> None:
            faults(fault, line)
            found.left_out.add(fault.line or 0)

        return note

    documents = read_corpus(path, on_fault=leave_out(found.bad), on_repeated=leave_out(found.repeated))
    for document in documents:
        missing.discard(document.id)
        found.num_documents += 1
    if not found.num_documents:
        raise DataError(f"the file holds no document; {found.bad.first[0]}", path=path)
    found.missing = sorted(missing)
    return found


def _query(record: dict[str, Any], path: Path, line: int) -> tuple[str, str]:
    query_id, text = record_id(record, path, line), record.get("text")
    if isinstance(text, str) and text.strip():
        return query_id, text
    found = "is missing" if "text" not in record else f"is {quote(str(text))}"
    problem = f"'text' {found}; expected a query with at least one visible character"
    raise DataError(problem, path=path, line=line)


def _check_header(cells: list[str], path: Path, line: int) -> None:
    if cells != _HEADER:
        problem = f"found {quote(' '.join(cells))}; expected the header 'query-id corpus-id score'"
        raise DataError(f"{problem}, separated by tabs: add it as the first line", path=path, line=line)


def _judgement(cells: list[str], path: Path, line: int) -> tuple[str, str, int]:
    if len(cells) != len(_HEADER) or not all(cells):
        problem = f"found {quote(' '.join(cells))}; expected query id, document id and grade"
        raise DataError(f"{problem}, separated by tabs", path=path, line=line)
    query_id, document_id, grade = cells
    try:
        value = int(grade)
    except ValueError:
        raise DataError(f"grade {quote(grade)}; expected a whole number", path=path, line=line) from None
    if value > MAX_GRADE:
        problem = f"grade {quote(grade)}; expected a whole number of at most {MAX_GRADE:,}"
        raise DataError(problem, path=path, line=line)
    return query_id, document_id, value
