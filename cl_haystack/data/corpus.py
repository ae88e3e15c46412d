"""Corpora: one document a line, streamed, however large the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_haystack.data.lines import read_json_objects
from cl_haystack.data.reading import PARQUET, Records, read_records
from cl_haystack.data.records import CorpusDocument
from cl_haystack.errors import DataError, quote

if TYPE_CHECKING:
    from haystack import Document

_OWN_FIELDS = ("_id", "title", "text", "metadata")


def read_corpus(path: str | Path, *, unique_ids: bool = True) -> Iterator[CorpusDocument]:
    """Read a corpus in BEIR's form: ``_id``, ``title``, ``text``, and anything else, which becomes meta.

    Title or text may be missing or empty; BEIR's ``metadata`` object is spread into meta. A number as
    ``_id`` is taken as its text.

    :param path: a JSONL file, or one named ``.parquet`` with columns of these names.
    :param unique_ids: refuse an id that was there before; this holds all ids, about 100 bytes each.
    :returns: the documents; the file is opened when the first is asked for.
    :raises DataError: the file is missing or empty, or a line is no document.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    records = read_records(path) if path.suffix == PARQUET else read_json_objects(path)
    documents = corpus_documents(records, path)
    return _checked(documents, path) if unique_ids else (document for _, document in documents)


def to_haystack_document(document: CorpusDocument) -> "Document":
    """Make a Haystack Document: same id, title and text as content, title and the rest as meta.

    :param document: a document of a corpus.
    :returns: the Haystack document, without an embedding.
    """
    from haystack import Document  # takes about a second, and reading a corpus does not need it

    meta = {"title": document.title, **document.meta} if document.title else document.meta
    return Document(id=document.id, content=document.content, meta=meta)


def _checked(documents: Iterator[tuple[int, CorpusDocument]], path: Path) -> Iterator[CorpusDocument]:
    seen: set[str] = set()
    for line, document in documents:
        if document.id in seen:
            problem = f"id {quote(document.id)} is there a second time; rename or remove one"
            raise DataError(problem, path=path, line=line)
        seen.add(document.id)
        yield document


def corpus_documents(records: Records, path: Path) -> Iterator[tuple[int, CorpusDocument]]:
    """Make documents of the records of a corpus.

    :param records: line or row, and what is there.
    :param path: their file, for messages.
    :yields: line or row, and the document.
    :raises DataError: a record is no document.
    """
    for line, record in records:
        if "title" not in record and "text" not in record:
            fields = quote(", ".join(record))
            problem = f"found the fields {fields}; expected '_id', 'text' and possibly 'title'"
            raise DataError(problem, path=path, line=line)
        title, text = (_text(record, name, path, line) for name in ("title", "text"))
        meta = {name: value for name, value in record.items() if name not in _OWN_FIELDS}
        extra = record.get("metadata")
        if isinstance(extra, dict):
            meta = extra | meta
        elif extra is not None:
            meta["metadata"] = extra
        document_id = record_id(record, path, line)
        yield line, CorpusDocument(id=document_id, title=title, text=text, meta=meta)


def record_id(record: dict[str, Any], path: Path, line: int) -> str:
    """Return the ``_id`` of a record of a corpus or query file.

    :param record: the record.
    :param path: its file, for the message.
    :param line: its line, for the message.
    :returns: the id, a text.
    :raises DataError: there is no ``_id``, or it is neither a text nor a whole number, or blank.
    """
    value = record.get("_id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value and not value.isspace():
        return value
    found = f"'_id' is {quote(str(value))}" if "_id" in record else f"no '_id' in {quote(', '.join(record))}"
    raise DataError(f"{found}; expected a text, unique in the file", path=path, line=line)


def _text(record: dict[str, Any], name: str, path: Path, line: int) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise DataError(f"{name!r} is {quote(str(value))}; expected a text", path=path, line=line)
