"""The indexing job: any stream of documents, embedded and written at the same time, nothing lost silently.

Documents are taken in windows. Of each window, first those are set aside that no server would take or that
lie in the index unchanged, then the texts are embedded in the calling thread, then the documents go in chunks
to threads that write them while the next window is embedded. Ids are fixed before anything is embedded, so a
job that died is simply run again: what was confirmed is found in the index by its content hash and neither
embedded nor written a second time.
"""

import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson
from haystack import Document
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.errors import ConfigurationError, RejectedDocumentsError
from cl_haystack.opensearch.background import BackgroundSender
from cl_haystack.opensearch.bulk import BulkWriter
from cl_haystack.opensearch.content_hash import ContentHasher
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.first_load import FirstLoad
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.journal import open_journal
from cl_haystack.opensearch.merging import merge_segments
from cl_haystack.opensearch.parcels import Parcel, parcels, windows
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience
from cl_haystack.opensearch.preparing import Preparer, Window
from cl_haystack.opensearch.report import DeadLetters, IndexingReport, Ledger
from cl_haystack.opensearch.write_target import WriteTarget
from cl_haystack.progress import OnProgress, Progress, ignore

if TYPE_CHECKING:  # so that an index can be used without loading onnxruntime
    from cl_haystack.encoder.protocol import TextEncoder

DEFAULT_WINDOW_SIZE = 1_000
DEFAULT_CHUNK_BYTES = 2_000_000
STREAMS_OF_READY_MADE_VECTORS = 2


def index_documents(
    documents: Iterable[Document],
    index: OpenSearchIndex,
    encoder: "TextEncoder",
    *,
    policy: DuplicatePolicy = DuplicatePolicy.OVERWRITE,
    meta_fields_to_embed: Sequence[str] = (),
    embedding_separator: str = "\n",
    dead_letters: str | Path | None = None,
    on_rejected: Literal["raise", "report"] | None = None,
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
        SKIP keeps whatever is there; FAIL and NONE raise DuplicateDocumentError.
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
    :raises SpaceMismatchError: the index belongs to another model.
    :raises RejectedDocumentsError: documents were refused; all others were written.
    :raises IndexingError: the index takes no documents.
    :raises ServerUnavailableError: the server cannot be reached, or not for ``retry_for_s`` seconds.
    """
    if isinstance(documents, Document | str | bytes | dict):
        raise TypeError(f"documents is a {type(documents).__name__}, expected an iterable of Document")
    if window_size < 1 or chunk_bytes < 1 or (streams is not None and streams < 1):
        raise ConfigurationError(
            f"window_size is {window_size}, chunk_bytes is {chunk_bytes}, streams is {streams}; expected ≥ 1"
        )
    started = time.perf_counter()
    index.ensure()
    bundle = getattr(encoder, "bundle", index.bundle)
    index.register_writer(bundle)
    stop = threading.Event()
    patience = Patience(retry_for_s, stop)
    dead_letters = None if dead_letters is None else Path(dead_letters)
    texts = orjson.dumps([list(meta_fields_to_embed), embedding_separator]).decode()
    description = {
        "index": f"{index.name} {_uuids(index)}",
        "model": bundle.fingerprint,
        "policy": policy.name,
        "texts": texts,
        "window_size": str(window_size),
    }
    with (
        DeadLetters(dead_letters, index.name) as letters,
        open_journal(None if journal is None else Path(journal), description) as (log, remove_journal),
    ):
        preparer = Preparer(
            index=index,
            encoder=encoder,
            keeps_hashes=index.keeps_hashes,
            policy=policy,
            hasher=ContentHasher(bundle.fingerprint, texts),
            meta_fields=tuple(meta_fields_to_embed),
            separator=embedding_separator,
            letters=letters,
            journal=log,
            patience=patience,
            on_progress=on_progress,
            total=len(documents) if isinstance(documents, Sized) else None,
        )
        writer = BulkWriter(
            index.connection.client(),
            url=index.connection.url,
            index=index.name,
            policy=policy,
            retry_for_s=retry_for_s,
            stop=stop,
            target=WriteTarget(index),
        )
        job = _Job(preparer, writer, stop, chunk_bytes)
        # A job of one window is over before a refresh matters.
        worthwhile = preparer.total is None or preparer.total > window_size
        with FirstLoad(index, patience, lower=worthwhile, drop_replicas=drop_replicas):
            job.run(windows(documents, window_size), streams)
        finishing = time.perf_counter()
        if force_merge:
            merge_segments(index, patience)
        if refresh:
            patience(index.refresh)
        patience(lambda: index.check(fresh=True))  # deleted meanwhile, it came back without its binding
        remove_journal()
    ended = time.perf_counter()
    seconds = {"refresh": ended - finishing, "total": ended - started}
    report = job.report(dead_letters, seconds)
    on_progress(Progress(report.read, report.read, preparer.note()))
    if report.rejected and (on_rejected or ("raise" if dead_letters is None else "report")) == "raise":
        raise RejectedDocumentsError(
            index=index.name,
            count=report.rejected,
            rejections={rejection.id: rejection.reason for rejection in report.rejections},
        )
    return report


@dataclass(slots=True)
class _Job:
    preparer: Preparer
    writer: BulkWriter
    stop: threading.Event
    chunk_bytes: int

    def run(self, batches: Iterator[list[Document]], streams: int | None) -> None:
        """Take the input to its end."""
        first = list(itertools.islice(batches, 1))
        num_streams = streams or _default_streams(first)
        with BackgroundSender(self.send, self.stop, num_streams) as sender:
            for number, batch in enumerate(itertools.chain(first, batches)):
                window = Window(number, batch, Ledger(self.preparer.ledger))
                for parcel in parcels(self.preparer.prepare(window), self.chunk_bytes, num_streams):
                    window.opened()
                    self.preparer.in_flight.add(parcel.actions)
                    sender.put((window, parcel), parcel.stream)
                self._close(window)
                self.preparer.tell()

    def send(self, item: tuple[Window, Parcel]) -> None:
        """Write one parcel; runs in the sending threads."""
        window, parcel = item
        preparer = self.preparer
        started = time.perf_counter()
        outcome = self.writer.send(parcel.actions, resumed=window.begun_before)
        window.ledger.add(outcome, time.perf_counter() - started)
        for rejection in outcome.rejections:
            preparer.letters.add(rejection, parcel.documents[rejection.id])
        preparer.patience(lambda: preparer.index.check_answer(outcome.indices))
        preparer.in_flight.remove(parcel.actions)
        self._close(window)

    def report(self, dead_letters: Path | None, seconds: dict[str, float]) -> IndexingReport:
        """Return the final counts."""
        ledger = self.preparer.ledger
        counts = asdict(ledger.counts)
        writing = {"embed": self.preparer.embed_seconds, "write": counts.pop("write_seconds")}
        return IndexingReport(
            index=self.preparer.index.name,
            **counts,
            seconds={**writing, **seconds},
            rejections=tuple(ledger.rejections),
            dead_letters=dead_letters if ledger.counts.rejected else None,
        )

    def _close(self, window: Window) -> None:
        if window.closed() and not window.done_before:
            self.preparer.journal.end(window.number, window.ledger.counts)


def _default_streams(first_window: list[list[Document]]) -> int:
    documents = [document for window in first_window for document in window]
    ready_made = all(document.embedding is not None for document in documents)
    return STREAMS_OF_READY_MADE_VECTORS if documents and ready_made else 1


def _uuids(index: OpenSearchIndex) -> str:
    """Return what tells an index from one that is made later under its name."""
    with opensearch_errors(index.connection.url, index.name):
        found = index.connection.client().indices.get_settings(index=index.name)
    return " ".join(sorted(entry["settings"]["index"]["uuid"] for entry in found.values()))
