"""A corpus as the input of a job: lines that are no documents are refused as documents are, and named."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from haystack import Document

from cl_haystack.data.corpus import to_haystack_document
from cl_haystack.data.lines import OnFault
from cl_haystack.data.records import CorpusDocument
from cl_haystack.errors import DataError
from cl_haystack.opensearch.documents import UnwritableDocument


def with_broken_lines(read: Callable[[OnFault], Iterable[CorpusDocument]]) -> Iterator[Document]:
    """Read a corpus to its end, whatever is in it.

    :param read: starts reading, given what is told the lines that cannot be used.
    :yields: the documents; in place of a line that is none, one that no index takes, for the dead letters:
        file and line are its id, the line its content.
    """
    broken: list[Document] = []

    def keep(fault: DataError, line: bytes) -> None:
        name = Path(fault.path or "").name
        broken.append(
            UnwritableDocument(f"{name}:{fault.line}", line.decode(errors="replace"), fault.problem)
        )

    for document in read(keep):
        yield from broken
        broken.clear()
        yield to_haystack_document(document)
    yield from broken
