"""Corpora: one document a line, streamed, however large the file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from cl_haystack.data.lines import BrokenLine, OnFault, read_json_lines, refuse, without_broken
from cl_haystack.data.reading import PARQUET, read_records
from cl_haystack.data.records import CorpusDocument
from cl_haystack.errors import DataError, quote

if TYPE_CHECKING:
    from haystack import Document

Found = CorpusDocument | BrokenLine

_OWN_FIELDS = ("_id", "title", "text", "metadata")


def read_corpus(
    path: str | Path,
    *,
    unique_ids: bool = True,
    on_fault: OnFault = refuse,
    on_repeated: OnFault = refuse,
) -> Iterator[CorpusDocument]:
    """Read a corpus in BEIR's form: ``_id``, ``title``, ``text``, and anything else, which becomes meta.

    Title or text may be missing or empty; BEIR's ``metadata`` object is spread into meta. A number as
    ``_id`` is taken as its text.

    :param path: a JSONL file, or one named ``.parquet`` with columns of these names.
    :param unique_ids: look for ids that were there before; this holds all ids, about 100 bytes each.
    :param on_fault: told each line that is no document; reading goes on behind it, if this returns.
    :param on_repeated: told each line whose id was there before; the first document stays.
    :returns: the documents; the file is opened when the first is asked for.
    :raises DataError: the file is missing or empty, or a line cannot be used and nobody wants to know.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    documents = read_numbered_corpus(path, on_fault)
    if unique_ids:
        documents = without_broken(_unique(documents, path), on_repeated)
    return (document for _, document in documents)


def read_corpus_lines(path: Path, *, unique_ids: bool = True) -> Iterator[Found]:
    """Read a corpus like :func:`read_corpus`, lines that are no documents included.

    :param path: the file.
    :param unique_ids: look for ids that were there before.
    :returns: the documents, and in its place each line that is none, or whose id was there before.
    :raises DataError: the file is missing or empty.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    found = _read(path)
    return (entry for _, entry in (_unique(found, path) if unique_ids else found))


def read_numbered_corpus(path: Path, on_fault: OnFault = refuse) -> Iterator[tuple[int, CorpusDocument]]:
    """Read a corpus like :func:`read_corpus`, with the line (the row, for Parquet) of each document.

    :param path: the file.
    :param on_fault: told each line that is no document.
    :returns: line and document, repeated ids included.
    :raises DataError: the file is missing or empty, or a line is no document and nobody wants to know.
    :raises MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    return without_broken(_read(path), on_fault)


def to_haystack_document(document: CorpusDocument) -> "Document":
    """Make a Haystack Document: same id, title and text as content, title and the rest as meta.

    :param document: a document of a corpus.
    :returns: the Haystack document, without an embedding.
    """
    from haystack import Document  # takes about a second, and reading a corpus does not need it

    meta = {"title": document.title, **document.meta} if document.title else document.meta
    return Document(id=document.id, content=document.content, meta=meta)


def _read(path: Path) -> Iterator[tuple[int, Found]]:
    if path.suffix == PARQUET:
        return corpus_lines(read_records(path), path)
    return corpus_lines(read_json_lines(path), path)


def _unique(found: Iterable[tuple[int, Found]], path: Path) -> Iterator[tuple[int, Found]]:
    seen: set[str] = set()
    for line, entry in found:
        if isinstance(entry, BrokenLine) or entry.id not in seen:
            yield line, entry
        else:
            problem = f"id {quote(entry.id)} is there a second time; rename or remove one"
            record = {"_id": entry.id, "title": entry.title, "text": entry.text, "metadata": entry.meta}
            fault = DataError(problem, path=path, line=line)
            yield line, BrokenLine(fault, orjson.dumps(record, default=str))
        if isinstance(entry, CorpusDocument):
            seen.add(entry.id)


def corpus_lines(
    records: Iterable[tuple[int, dict[str, Any] | BrokenLine]], path: Path
) -> Iterator[tuple[int, Found]]:
    """Make documents of the records of a corpus.

    :param records: line or row, and what is there.
    :param path: their file, for messages.
    :yields: line or row, and the document, or the line where it is none.
    """
    for line, record in records:
        if isinstance(record, BrokenLine):
            yield line, record
            continue
        try:
            found: Found = _document(record, path, line)
        except DataError as fault:
            found = BrokenLine(fault, orjson.dumps(record, default=str))
        yield line, found


def _document(record: dict[str, Any], path: Path, line: int) -> CorpusDocument:
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
    return CorpusDocument(id=record_id(record, path, line), title=title, text=text, meta=meta)


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
