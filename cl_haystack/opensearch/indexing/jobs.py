"""The indexing job: any stream of documents, embedded and written at the same time, nothing lost silently.

Documents are taken in windows. Of each window, first those are set aside that no server would take or that
lie in the index unchanged, then the texts are embedded in the calling thread, then the documents go in chunks
to threads that write them while the next window is embedded. Ids are fixed before anything is embedded, so a
job that died is simply run again: what was confirmed is found in the index by its content hash and neither
embedded nor written a second time.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import IndexingError, RejectedDocumentsError
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.indexing.first_load import FirstLoad
from cl_haystack.opensearch.indexing.journal import open_journal
from cl_haystack.opensearch.indexing.merging import merge_segments
from cl_haystack.opensearch.indexing.report import IndexingReport
from cl_haystack.opensearch.indexing.unfinished import ReportOnError, carry_report
from cl_haystack.opensearch.indexing.writing import (
    DEFAULT_CHUNK_BYTES,
    DEFAULT_WINDOW_SIZE,
    WritingOptions,
    bundle_of,
    write_documents,
)
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience
from cl_haystack.progress import OnProgress, ignore

if TYPE_CHECKING:  # so that an index can be used without loading onnxruntime
    from cl_haystack.encoder.protocol import TextEncoder

OnRejected = Literal["raise", "report"] | None


def index_documents(
    documents: Iterable[Document],
    index: OpenSearchIndex,
    encoder: "TextEncoder",
    *,
    policy: DuplicatePolicy = DuplicatePolicy.OVERWRITE,
    meta_fields_to_embed: Sequence[str] = (),
    embedding_separator: str = "\n",
    dead_letters: str | Path | None = None,
    on_rejected: OnRejected = None,
    journal: str | Path | None = None,
    refresh: bool = True,
    force_merge: bool = False,
    drop_replicas: bool = False,
    streams: int | None = None,
    window_size: int = DEFAULT_WINDOW_SIZE,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    retry_for_s: float = DEFAULT_RETRY_FOR_S,
    on_progress: OnProgress = ignore,
) -> IndexingReport:
    """Embed documents and write them to an index, which is made if it does not exist.

    A document that carries an embedding keeps it. A document without text is written without a vector.
    An empty index is filled without refreshes; its ``refresh_interval`` is restored whatever happens, after a
    kill by the next job.

    :param documents: any iterable; it is never held as a whole.
    :param index: the index, bound to the encoder's model.
    :param encoder: a bundle's encoder, or anything with ``encode_documents``.
    :param policy: OVERWRITE replaces documents that have changed and skips those that are there unchanged;
        SKIP keeps whatever is there; FAIL and NONE raise DuplicateDocumentError once all others are written.
    :param meta_fields_to_embed: meta fields that are embedded before the content.
    :param embedding_separator: stands between them.
    :param dead_letters: file to which refused documents are appended with the reason.
    :param on_rejected: what follows, after all others were written, when documents were refused: ``raise``
        RejectedDocumentsError, or ``report`` them alone. By default raise, unless ``dead_letters`` is given.
    :param journal: file that makes a job of FAIL or NONE repeatable after a kill, keeps refused documents
        from being tried again, and completes the report; removed at the end. The input must come in the same
        order again. OVERWRITE and SKIP go on where they were without it, so by default there is none.
    :param refresh: make the documents visible to searches at the end.
    :param force_merge: merge the index into one segment at the end: slow, then the fastest searches.
    :param drop_replicas: fill an empty index without replicas. Faster; what was confirmed is lost if a node
        dies meanwhile.
    :param streams: bulk requests at a time. By default 2 where the documents carry embeddings, else 1: the
        encoder needs the cores, and a second stream costs it 8 to 10 %.
    :param window_size: documents embedded at a time.
    :param chunk_bytes: size of a bulk request.
    :param retry_for_s: how long a request is repeated while the server is busy or away.
    :param on_progress: told the number of documents done; the total where the input has a length.
    :returns: what became of the documents.
    :raises DuplicateDocumentError: documents are there already, and the policy is FAIL or NONE.
    :raises SpaceMismatchError: the index belongs to another model.
    :raises RejectedDocumentsError: documents were refused; all others were written.
    :raises IndexingError: the index takes no documents.
    :raises ServerUnavailableError: the server cannot be reached, or not for ``retry_for_s`` seconds.
    """
    if isinstance(documents, Document | str | bytes | dict):
        raise TypeError(f"documents is a {type(documents).__name__}, expected an iterable of Document")
    options = WritingOptions(
        policy, meta_fields_to_embed, embedding_separator, streams, window_size, chunk_bytes, retry_for_s
    )
    dead_letters = None if dead_letters is None else Path(dead_letters)
    patience = Patience(retry_for_s, threading.Event())
    started = time.perf_counter()
    bundle = bundle_of(encoder, index)
    open_for_writing(index, bundle, patience)
    journal = None if journal is None else Path(journal)
    description = {} if journal is None else _description(index, bundle, options, patience)
    # A job of one window is over before a refresh matters.
    lower = not isinstance(documents, Sized) or len(documents) > window_size
    finish = {"drop_replicas": drop_replicas, "refresh": refresh, "force_merge": force_merge}
    with open_journal(journal, description) as (log, remove_journal), ReportOnError() as unfinished:
        with load(index, patience, lower=lower, **finish):
            report = unfinished.report = write_documents(
                documents,
                index,
                encoder,
                options,
                patience=patience,
                dead_letters=dead_letters,
                journal=log,
                on_progress=on_progress,
            )
            written = time.perf_counter()
        remove_journal()
    ended = time.perf_counter()
    timing = {**report.seconds, "refresh": ended - written, "total": ended - started}
    return judge(replace(report, seconds=timing), on_rejected)


def open_for_writing(index: OpenSearchIndex, bundle: ModelBundle, patience: Patience) -> None:
    """Make the index where it does not exist, check it, and record the model as a writer.

    :param index: the index.
    :param bundle: the model that is going to write.
    :param patience: repeats requests; a server that does not answer at all is reported at once.
    :raises IndexingError: the name is that of an alias which does not say where to write.
    """
    patience.first_request(index.ensure)
    patience(lambda: index.register_writer(bundle))
    if len(index.checked) > 1:
        patience(lambda: _check_write_index(index))


def _check_write_index(index: OpenSearchIndex) -> None:
    """Raise where an alias leads to several indices and none is for writing: all documents would fail."""
    with opensearch_errors(index.connection.url, index.name):
        found = index.connection.client().indices.get_alias(index=",".join(index.checked))
    aliases = [entry["aliases"][index.name] for entry in found.values() if index.name in entry["aliases"]]
    if aliases and not any(alias.get("is_write_index") for alias in aliases):
        raise IndexingError(
            f"index '{index.name}' at {index.connection.url} leads to several indices "
            f"({', '.join(sorted(found))}), none of which is its write index; name one of them, or choose one"
        )


@contextmanager
def load(
    index: OpenSearchIndex,
    patience: Patience,
    *,
    lower: bool,
    drop_replicas: bool = False,
    refresh: bool = True,
    force_merge: bool = False,
) -> Iterator[None]:
    """Surround the writing: settings of a first load before, and whatever happens those of before after.

    :param index: the index, opened for writing.
    :param patience: repeats requests.
    :param lower: whether an empty index is worth other settings.
    :param drop_replicas: fill it without replicas.
    :param refresh: make documents visible to searches at the end.
    :param force_merge: merge the index into one segment at the end.
    :yields: nothing; write meanwhile.
    :raises DuplicateDocumentError: what was raised meanwhile.
    """
    duplicates: DuplicateDocumentError | None = None
    with FirstLoad(index, patience, lower=lower, drop_replicas=drop_replicas):
        try:
            yield
        except DuplicateDocumentError as error:  # which comes when all other documents are written
            duplicates = error
    if force_merge:
        merge_segments(index, patience)
    if refresh:
        patience(index.refresh)
    patience(lambda: index.check(fresh=True))  # deleted meanwhile, it came back without its binding
    if duplicates is not None:
        raise duplicates


def judge(report: IndexingReport, on_rejected: OnRejected) -> IndexingReport:
    """Return a report, or raise what follows from it.

    :param report: the end of a job.
    :param on_rejected: ``raise`` or ``report``; None raises where no dead-letter file keeps what was refused.
    :returns: the report.
    :raises RejectedDocumentsError: documents were refused, and that is to be an error.
    """
    wanted = on_rejected or ("raise" if report.dead_letters is None else "report")
    if report.rejected and wanted == "raise":
        error = RejectedDocumentsError(
            index=report.index,
            count=report.rejected,
            rejections={rejection.id: rejection.reason for rejection in report.rejections},
        )
        carry_report(error, report)
        raise error
    return report


def _description(
    index: OpenSearchIndex, bundle: ModelBundle, options: WritingOptions, patience: Patience
) -> dict[str, str]:
    """Return what the journals of two jobs differ in where the jobs do."""
    return {
        "index": f"{index.name} {patience(lambda: _uuids(index))}",
        "model": bundle.fingerprint,
        "policy": options.policy.name,
        "texts": options.texts,
        "window_size": str(options.window_size),
    }


def _uuids(index: OpenSearchIndex) -> str:
    """Return what tells an index from one that is made later under its name."""
    with opensearch_errors(index.connection.url, index.name):
        found = index.connection.client().indices.get_settings(index=index.name)
    return " ".join(sorted(entry["settings"]["index"]["uuid"] for entry in found.values()))
