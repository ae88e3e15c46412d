"""One stream of documents through a job: prepared and embedded in the calling thread, written in others.

Nothing here concerns the index as a whole (its settings, its refresh), so several of these may run beside
each other, on one machine or on many.
"""

import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.content_hash import ContentHasher
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.indexing.background import BackgroundSender
from cl_haystack.opensearch.indexing.bulk import BulkWriter
from cl_haystack.opensearch.indexing.journal import Journal
from cl_haystack.opensearch.indexing.parcels import Parcel, parcels, windows
from cl_haystack.opensearch.indexing.preparing import Draft, Preparer, Window
from cl_haystack.opensearch.indexing.report import DeadLetters, IndexingReport, Ledger
from cl_haystack.opensearch.indexing.unfinished import carry_report
from cl_haystack.opensearch.indexing.write_target import WriteTarget
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience
from cl_haystack.progress import OnProgress, Progress, ignore

if TYPE_CHECKING:  # so that an index can be used without loading onnxruntime
    from cl_haystack.encoder.protocol import TextEncoder

DEFAULT_WINDOW_SIZE = 1_000
DEFAULT_CHUNK_BYTES = 2_000_000
STREAMS_OF_READY_MADE_VECTORS = 2


@dataclass(frozen=True, slots=True)
class WritingOptions:
    """How documents are embedded and written; the meanings are those of ``index_documents``."""

    policy: DuplicatePolicy = DuplicatePolicy.OVERWRITE
    meta_fields_to_embed: Sequence[str] = ()
    embedding_separator: str = "\n"
    streams: int | None = None
    window_size: int = DEFAULT_WINDOW_SIZE
    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    retry_for_s: float = DEFAULT_RETRY_FOR_S

    def __post_init__(self) -> None:
        if self.window_size < 1 or self.chunk_bytes < 1 or (self.streams is not None and self.streams < 1):
            raise ConfigurationError(
                f"window_size is {self.window_size}, chunk_bytes is {self.chunk_bytes}, streams is "
                f"{self.streams}; expected ≥ 1"
            )

    @property
    def texts(self) -> str:
        """How the text of a document is put together, in a form that differs where that does."""
        return orjson.dumps([list(self.meta_fields_to_embed), self.embedding_separator]).decode()


def write_documents(
    documents: Iterable[Document],
    index: OpenSearchIndex,
    encoder: "TextEncoder",
    options: WritingOptions,
    *,
    patience: Patience,
    dead_letters: Path | None = None,
    journal: Journal | None = None,
    on_progress: OnProgress = ignore,
) -> IndexingReport:
    """Embed and write documents; the index is there, and knows the model.

    :param documents: any iterable; it is never held as a whole.
    :param index: the index.
    :param encoder: of the index's model.
    :param options: how.
    :param patience: repeats requests.
    :param dead_letters: file to which refused documents are appended with the reason.
    :param journal: which windows are begun and done; None keeps none.
    :param on_progress: told the number of documents done; the total where the input has a length.
    :returns: what became of the documents.
    :raises DuplicateDocumentError: the policy is FAIL or NONE, and documents are there already; all others
        were written.
    """
    started = time.perf_counter()
    with DeadLetters(dead_letters, index.name) as letters:
        preparer = Preparer(
            index=index,
            encoder=encoder,
            keeps_hashes=patience(lambda: index.keeps_hashes),
            policy=options.policy,
            hasher=ContentHasher(bundle_of(encoder, index).fingerprint, options.texts),
            meta_fields=tuple(options.meta_fields_to_embed),
            separator=options.embedding_separator,
            letters=letters,
            journal=journal or Journal(None),
            patience=patience,
            on_progress=on_progress,
            total=len(documents) if isinstance(documents, Sized) else None,
        )
        writer = BulkWriter(
            index.connection.client(),
            url=index.connection.url,
            index=index.name,
            policy=options.policy,
            retry_for_s=options.retry_for_s,
            stop=patience.stop,
            target=WriteTarget(index),
        )
        stream = _Stream(preparer, writer, patience.stop, options.chunk_bytes)
        try:
            stream.run(windows(documents, preparer.draft, options.window_size), options.streams)
        except BaseException as error:
            carry_report(error, stream.report(dead_letters, time.perf_counter() - started))
            raise
    report = stream.report(dead_letters, time.perf_counter() - started)
    on_progress(Progress(report.read, report.read, preparer.note()))
    return report


def bundle_of(encoder: "TextEncoder", index: OpenSearchIndex) -> ModelBundle:
    """Return the bundle that an encoder was opened from; the index's where it does not say."""
    bundle: ModelBundle = getattr(encoder, "bundle", index.bundle)
    return bundle


@dataclass(slots=True)
class _Stream:
    preparer: Preparer
    writer: BulkWriter
    stop: threading.Event
    chunk_bytes: int

    def run(self, batches: Iterator[list[Draft]], streams: int | None) -> None:
        """Take the input to its end, and tell then what was there already and should not be."""
        first = list(itertools.islice(batches, 1))
        num_streams = streams or _default_streams(first)
        with BackgroundSender(self.send, self.stop, num_streams) as sender:
            for number, batch in enumerate(itertools.chain(first, batches)):
                window = Window(number, Ledger(self.preparer.ledger))
                prepared = self.preparer.prepare(window, batch)
                for parcel in parcels(prepared, self.chunk_bytes, num_streams):
                    window.opened()
                    self.preparer.in_flight.add(parcel.actions)
                    sender.put((window, parcel), parcel.stream)
                self._close(window)
                self.preparer.tell()
        self._raise_duplicates()

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

    def report(self, dead_letters: Path | None, seconds: float) -> IndexingReport:
        """Return the counts, which are final once the input has come to its end."""
        preparer = self.preparer
        counts = asdict(preparer.ledger.counts)
        write_seconds, _ = counts.pop("write_seconds"), counts.pop("duplicates")
        return IndexingReport(
            index=preparer.index.name,
            **counts,
            seconds={"embed": preparer.embed_seconds, "write": write_seconds, "total": seconds},
            rejections=tuple(preparer.ledger.rejections),
            dead_letters=dead_letters if counts["rejected"] else None,
        )

    def _raise_duplicates(self) -> None:
        index, ledger = self.preparer.index.name, self.preparer.ledger
        if ledger.duplicates:
            first = ", ".join(map(repr, ledger.duplicates))
            raise DuplicateDocumentError(
                f"index '{index}': {ledger.counts.duplicates:,} documents are there already: {first}; they "
                "stay as they are: use DuplicatePolicy.OVERWRITE to replace them, or SKIP to pass over them"
            )

    def _close(self, window: Window) -> None:
        if window.closed() and not window.done_before:
            self.preparer.end(window)


def _default_streams(first_window: list[list[Draft]]) -> int:
    drafts = [draft for window in first_window for draft in window]
    ready_made = all(draft.document.embedding is not None for draft in drafts)
    return STREAMS_OF_READY_MADE_VECTORS if drafts and ready_made else 1
