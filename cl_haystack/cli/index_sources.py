"""What ``cl-haystack index`` reads: a corpus, or another index."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haystack import Document

    from cl_haystack.encoder import Encoder

Found = tuple[Iterable["Document"], int | None]
"""Documents, and how many they are, where that is known."""

_MAX_CHECKED_IDS = 1_000_000  # 100 MB; memory must not grow with the corpus


def open_source(
    encoder: "Encoder",
    *,
    corpus: Path | None,
    from_index: str | None,
    url: str | None,
    keep_vectors: bool,
    keep_broken_lines: bool,
) -> AbstractContextManager[Found]:
    """Open what the command line names.

    :param encoder: whose vectors are kept.
    :param corpus: a file; None reads ``from_index``.
    :param from_index: name of an index, or its address on another server, with credentials where it wants
        any.
    :param url: the server, unless ``from_index`` says another one.
    :param keep_vectors: read the index's vectors, too, after a sample has shown that they are the encoder's.
    :param keep_broken_lines: refuse lines that are no documents like documents; else stop at the first.
    :returns: gives the documents, and their number, where that is known.
    """
    if corpus is not None:
        return _read_file(corpus, keep_broken_lines=keep_broken_lines)
    assert from_index is not None
    return _read_index(from_index, url, encoder, keep_vectors=keep_vectors)


@contextmanager
def _read_file(path: Path, *, keep_broken_lines: bool) -> Iterator[Found]:
    from cl_haystack.data import read_corpus, to_haystack_document
    from cl_haystack.data.corpus import read_corpus_lines
    from cl_haystack.opensearch.indexing.corpus import with_broken_lines

    total = _num_documents(path)
    unique_ids = total is not None and total <= _MAX_CHECKED_IDS
    if keep_broken_lines:
        yield with_broken_lines(read_corpus_lines(path, unique_ids=unique_ids)), total
    else:
        yield map(to_haystack_document, read_corpus(path, unique_ids=unique_ids)), total


@contextmanager
def _read_index(given: str, url: str | None, encoder: "Encoder", *, keep_vectors: bool) -> Iterator[Found]:
    from cl_haystack.errors import AdoptionError, ConfigurationError
    from cl_haystack.opensearch import OpenSearchIndex, read_documents
    from cl_haystack.opensearch.adoption import verify_vectors
    from cl_haystack.opensearch.connection import split_address
    from cl_haystack.opensearch.records import count_records

    cut = {"truncate_dim": encoder.dimension} if encoder.dimension < encoder.bundle.dimension else {}
    server: dict[str, Any] = {}
    name = given
    if "://" in given:
        split_address(given)  # or refuse it whole: a part of a password might be taken for the name
        url, name = given.rsplit("/", 1)
        server = {"username": None, "password": None}  # those in the environment are the target's
    with closing(
        OpenSearchIndex(url, name, encoder.bundle, settings=cut, require_binding=False, **server)
    ) as index:
        if keep_vectors:
            try:
                verify_vectors(index, encoder)
            except AdoptionError as error:
                way_out = "leave out --keep-vectors, and its documents are embedded again"
                raise ConfigurationError(f"{error}; or {way_out}") from error
        documents = read_documents(index.connection, name, with_embedding=keep_vectors)
        yield documents, count_records(index.connection, name)


def _num_documents(path: Path) -> int | None:
    """Count lines or rows, so that the time left can be told; None where the file is no plain one."""
    from cl_haystack.data.reading import PARQUET, row_groups

    if not path.is_file():
        return None
    if path.suffix == PARQUET:
        return sum(rows for rows, _ in row_groups(path))
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
