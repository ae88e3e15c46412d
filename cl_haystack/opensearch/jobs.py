"""The indexing job: any stream of documents, embedded and written at the same time, nothing lost silently.

Documents are taken in windows. Of each window, first those are set aside that no server would take, then the
texts are embedded in the calling thread, then the documents go in chunks to a thread that writes them while
the next window is embedded. Ids are fixed before anything is embedded, so running a job again changes
nothing that is there already.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from cl_haystack.errors import ConfigurationError, IndexingError, RejectedDocumentsError
from cl_haystack.opensearch.background import BackgroundSender
from cl_haystack.opensearch.bulk import (
    DEFAULT_CHUNK_BYTES,
    DEFAULT_RETRY_FOR_S,
    Action,
    BulkWriter,
    Rejection,
    chunks,
    write_action,
)
from cl_haystack.opensearch.documents import (
    ROUTING_FIELD,
    UnwritableDocumentError,
    embedding_text,
    source_json,
    with_embedding,
)
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.report import DeadLetters, IndexingReport, Ledger
from cl_haystack.progress import OnProgress, Progress, ignore

if TYPE_CHECKING:  # so that an index can be used without loading onnxruntime
    from cl_haystack.encoder.protocol import TextEncoder

DEFAULT_WINDOW_SIZE = 1_000
_MAX_WINDOW_CHARS = 20_000_000


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
    refresh: bool = True,
    window_size: int = DEFAULT_WINDOW_SIZE,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    retry_for_s: float = DEFAULT_RETRY_FOR_S,
    on_progress: OnProgress = ignore,
) -> IndexingReport:
    """Embed documents and write them to an index, which is made if it does not exist.

    A document that carries an embedding keeps it. A document without text is written without a vector.

    :param documents: any iterable; it is never held as a whole.
    :param index: the index, bound to the encoder's model.
    :param encoder: a bundle's encoder, or anything with ``encode_documents``.
    :param policy: OVERWRITE replaces documents that are there already; SKIP keeps them and embeds nothing
        for them, which also resumes an interrupted job; FAIL and NONE raise DuplicateDocumentError.
    :param meta_fields_to_embed: meta fields that are embedded before the content.
    :param embedding_separator: stands between them.
    :param dead_letters: file to which refused documents are appended with the reason.
    :param on_rejected: what follows, after all others were written, when documents were refused: ``raise``
        RejectedDocumentsError, or ``report`` them alone. By default raise, unless ``dead_letters`` is given.
    :param refresh: make the documents visible to searches at the end.
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
    if window_size < 1 or chunk_bytes < 1:
        raise ConfigurationError(f"window_size is {window_size}, chunk_bytes is {chunk_bytes}; expected ≥ 1")
    started = time.perf_counter()
    index.ensure()
    index.register_writer(getattr(encoder, "bundle", index.bundle))
    total = len(documents) if isinstance(documents, Sized) else None
    stop = threading.Event()
    dead_letters = None if dead_letters is None else Path(dead_letters)
    with DeadLetters(dead_letters, index.name) as letters:
        job = _Job(
            index=index,
            encoder=encoder,
            policy=policy,
            meta_fields=tuple(meta_fields_to_embed),
            separator=embedding_separator,
            letters=letters,
            ledger=Ledger(),
            writer=BulkWriter(
                index.connection.client(),
                url=index.connection.url,
                index=index.name,
                policy=policy,
                retry_for_s=retry_for_s,
                stop=stop,
            ),
            on_progress=on_progress,
            total=total,
        )
        with BackgroundSender(job.send, stop) as sender:
            for window in windows(documents, window_size):
                for chunk in chunks_of(job.prepare(window), chunk_bytes):
                    sender.put(chunk)
    refreshing = time.perf_counter()
    if refresh:
        index.refresh()
    index.check(fresh=True)  # an index that was deleted meanwhile came back without its binding
    ended = time.perf_counter()
    report = job.report(dead_letters, {"refresh": ended - refreshing, "total": ended - started})
    on_progress(Progress(report.read, report.read, _note(job.ledger)))
    if report.rejected and (on_rejected or ("raise" if dead_letters is None else "report")) == "raise":
        raise RejectedDocumentsError(
            index=index.name,
            count=report.rejected,
            rejections={rejection.id: rejection.reason for rejection in report.rejections},
        )
    return report


@dataclass(slots=True)
class _Draft:
    """A document on its way: its stored form without the vector, and the vector once it is known."""

    document: Document
    source: bytes
    vector: NDArray[np.float32] | Sequence[float] | None


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A chunk and the documents in it, by id, so that a refused one can be kept."""

    actions: list[Action]
    documents: dict[str, Document]


@dataclass(slots=True)
class _Job:
    index: OpenSearchIndex
    encoder: "TextEncoder"
    policy: DuplicatePolicy
    meta_fields: tuple[str, ...]
    separator: str
    letters: DeadLetters
    ledger: Ledger
    writer: BulkWriter
    on_progress: OnProgress
    total: int | None
    embed_seconds: float = 0.0

    def prepare(self, window: Sequence[Document]) -> Iterator[tuple[Action, Document]]:
        """Turn a window of documents into actions; what cannot be written is set aside."""
        new = self._without_existing(window)
        drafts = [draft for document in new if (draft := self._draft(document)) is not None]
        self._embed(drafts)
        self.ledger.read += len(window)
        self.on_progress(Progress(self.ledger.read, self.total, _note(self.ledger)))
        for draft in drafts:
            try:
                stored = with_embedding(draft.source, draft.vector)
            except UnwritableDocumentError as error:
                self._reject(draft.document, str(error))
                continue
            routing = draft.document.meta.get(ROUTING_FIELD)
            yield write_action(draft.document.id, stored, self.policy, routing), draft.document

    def send(self, parcel: _Parcel) -> None:
        """Write one chunk; runs in the sending thread."""
        started = time.perf_counter()
        outcome = self.writer.send(parcel.actions)
        self.ledger.add(outcome, time.perf_counter() - started)
        for rejection in outcome.rejections:
            self.letters.add(rejection, parcel.documents[rejection.id])
        self.index.check_answer(outcome.indices)

    def report(self, dead_letters: Path | None, seconds: dict[str, float]) -> IndexingReport:
        """Return the final counts."""
        ledger = self.ledger
        return IndexingReport(
            index=self.index.name,
            read=ledger.read,
            skipped=ledger.skipped,
            embedded=ledger.embedded,
            without_text=ledger.without_text,
            written=ledger.written,
            rejected=ledger.rejected,
            retries=ledger.retries,
            seconds={"embed": self.embed_seconds, "write": ledger.write_seconds, **seconds},
            rejections=tuple(ledger.rejections),
            dead_letters=dead_letters if ledger.rejected else None,
        )

    def _without_existing(self, window: Sequence[Document]) -> Sequence[Document]:
        if self.policy != DuplicatePolicy.SKIP:
            return window
        existing = self.index.existing_ids([document.id for document in window])
        self.ledger.skip(sum(document.id in existing for document in window))
        return [document for document in window if document.id not in existing]

    def _draft(self, document: Document) -> _Draft | None:
        dimension = self.index.dimension
        try:
            if document.embedding is not None and len(document.embedding) != dimension:
                raise UnwritableDocumentError(
                    f"carries an embedding of {len(document.embedding)} dimensions, the index takes "
                    f"{dimension}; take it away to have the text embedded"
                )
            return _Draft(document, source_json(document), document.embedding)
        except UnwritableDocumentError as error:
            self._reject(document, str(error))
            return None

    def _embed(self, drafts: Sequence[_Draft]) -> None:
        waiting: list[_Draft] = []
        texts: list[str] = []
        for draft in drafts:
            if draft.vector is not None:
                continue
            text = embedding_text(draft.document, self.meta_fields, self.separator)
            if text.strip():
                waiting.append(draft)
                texts.append(text)
            else:
                self.ledger.without_text += 1
        if not texts:
            return
        started = time.perf_counter()
        vectors = self.encoder.encode_documents(texts, on_progress=self._on_embedded)
        self.embed_seconds += time.perf_counter() - started
        expected = (len(texts), self.index.dimension)
        if vectors.shape != expected:
            raise IndexingError(
                f"index '{self.index.name}': the encoder gave vectors of shape {vectors.shape} for "
                f"{len(texts)} texts, expected {expected}; use the encoder of {self.index.bundle.label}, "
                "opened with the truncate_dim of the index's settings"
            )
        for draft, vector in zip(waiting, vectors, strict=True):
            draft.vector = vector
        self.ledger.embedded += len(texts)

    def _on_embedded(self, progress: Progress) -> None:
        self.on_progress(Progress(self.ledger.read + progress.done, self.total, _note(self.ledger)))

    def _reject(self, document: Document, reason: str) -> None:
        rejection = Rejection(document.id, reason)
        self.ledger.reject(rejection)
        self.letters.add(rejection, document)


def windows(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Group documents, in order, into windows of at most ``size`` and of a bounded amount of text.

    :param documents: any iterable of Document.
    :param size: most documents of a window.
    :yields: the windows.
    :raises TypeError: an element is something else; its position is named.
    """
    window: list[Document] = []
    chars = 0
    for position, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(
                f"documents[{position}] is a {type(document).__name__}, expected a haystack Document"
            )
        window.append(document)
        chars += len(document.content or "")
        if len(window) == size or chars >= _MAX_WINDOW_CHARS:
            yield window
            window, chars = [], 0
    if window:
        yield window


def chunks_of(prepared: Iterator[tuple[Action, Document]], max_bytes: int) -> Iterator[_Parcel]:
    """Group prepared documents into parcels of at most ``max_bytes``."""
    documents: dict[str, Document] = {}

    def actions() -> Iterator[Action]:
        for action, document in prepared:
            documents[action.id] = document
            yield action

    for chunk in chunks(actions(), max_bytes):
        yield _Parcel(chunk, {action.id: documents[action.id] for action in chunk})


def _note(ledger: Ledger) -> str:
    refused = f", {ledger.rejected:,} refused" if ledger.rejected else ""
    return f"{ledger.written:,} written{refused}"
