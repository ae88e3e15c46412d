"""A corpus as the input of a job: lines that are no documents are refused as documents are, and named."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from haystack import Document

from cl_haystack.data.corpus import Found, to_haystack_document
from cl_haystack.data.lines import BrokenLine
from cl_haystack.opensearch.documents import UnwritableDocument


def with_broken_lines(found: Iterable[Found]) -> Iterator[Document]:
    """Make a job's input of a corpus, whatever is in it.

    :param found: what was read: documents and lines that are none.
    :yields: the documents; in place of a line that is none, one that no index takes, for the dead letters:
        file and line are its id, the line its content.
    """
    for entry in found:
        if isinstance(entry, BrokenLine):
            fault = entry.fault
            name = f"{Path(fault.path or '').name}:{fault.line}"
            yield UnwritableDocument(name, entry.content.decode(errors="replace"), fault.problem)
        else:
            yield to_haystack_document(entry)
