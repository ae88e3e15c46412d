"""From documents to bulk actions: what is refused, what is unchanged, what has to be embedded.

A window of documents goes through these steps in order. Only what is left after one enters the next, so
nothing is embedded that no server would take or that lies in the index already. The first step, the stored
form without the vector, comes before the window is cut: its size is what bounds a window.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.content_hash import ContentHasher
from cl_haystack.opensearch.documents import (
    ROUTING_FIELD,
    UnwritableDocumentError,
    canonical_json,
    embedding_text,
    source_json,
    split_hash,
    with_embedding,
)
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.indexing.bulk import Action, Rejection, write_action
from cl_haystack.opensearch.indexing.journal import Journal
from cl_haystack.opensearch.indexing.report import DeadLetters, Ledger, WindowReport
from cl_haystack.opensearch.patience import Patience
from cl_haystack.progress import OnProgress, Progress

if TYPE_CHECKING:  # so that an index can be used without loading onnxruntime
    from cl_haystack.encoder.protocol import TextEncoder


class InFlight:
    """Ids of documents that are on their way to the server: whatever the index says of them may be old."""

    def __init__(self) -> None:
        self._ids: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, actions: Sequence[Action]) -> None:
        """Note actions that are going to be sent."""
        with self._lock:
            self._ids.update(action.id for action in actions)

    def remove(self, actions: Sequence[Action]) -> None:
        """Note actions that have their answers."""
        with self._lock:
            self._ids -= Counter(action.id for action in actions)

    def ids(self) -> set[str]:
        """Return the ids of now."""
        with self._lock:
            return set(self._ids)


@dataclass(slots=True)
class Window:
    """A window of the input and where it stands; done when it is closed and all its parcels are answered."""

    number: int
    ledger: Ledger
    begun_before: bool = False  # by an earlier run, so some of it may be written
    done_before: bool = False
    _unanswered: int = 1  # one for the maker, who closes it
    _lock: Lock = field(default_factory=Lock)

    def opened(self) -> None:
        """Note one more parcel on its way."""
        with self._lock:
            self._unanswered += 1

    def closed(self) -> bool:
        """Note that a parcel is answered, or that no more will come; return whether that was the last."""
        with self._lock:
            self._unanswered -= 1
            return self._unanswered == 0


@dataclass(slots=True)
class Draft:
    """A document on its way: its stored form without the vector, and the vector once it is known.

    Where there is a ``problem``, the document cannot be stored, and there is no stored form.
    """

    document: Document
    source: bytes = b""
    hash: str = ""
    vector: NDArray[np.float32] | Sequence[float] | None = None
    problem: str | None = None

    @property
    def num_bytes(self) -> int:
        """How much the document holds, without its vector, as far as that is known."""
        content = self.document.content
        return len(self.source) or (len(content) if isinstance(content, str) else 0)

    @property
    def routing(self) -> str | None:
        """Shard routing value, if any."""
        routing: str | None = self.document.meta.get(ROUTING_FIELD)
        return routing

    def is_stored(self, source: dict[str, Any] | None) -> bool:
        """Return whether what an index holds, without the vector, is this very document."""
        if source is None:
            return False
        rest, content_hash = split_hash(source)
        return content_hash == self.hash and canonical_json(rest) == self.source

    def target(self) -> dict[str, Any]:
        """Return how a request names the document."""
        routing = {} if self.routing is None else {"routing": self.routing}
        return {"_id": self.document.id, **routing}


@dataclass(slots=True)
class Preparer:
    """Turns windows into actions, in the calling thread."""

    index: OpenSearchIndex
    encoder: "TextEncoder"
    keeps_hashes: bool
    policy: DuplicatePolicy
    hasher: ContentHasher
    meta_fields: Sequence[str]
    separator: str
    letters: DeadLetters
    journal: Journal
    patience: Patience
    on_progress: OnProgress
    total: int | None
    ledger: Ledger = field(default_factory=Ledger)
    in_flight: InFlight = field(default_factory=InFlight)
    embed_seconds: float = 0.0

    def draft(self, document: Document) -> Draft:
        """Return the stored form of a document, or why there is none."""
        try:
            return self._draft(document)
        except UnwritableDocumentError as error:
            return Draft(document, problem=str(error))

    def prepare(self, window: Window, drafts: Sequence[Draft]) -> Iterator[tuple[Action, Document]]:
        """Turn a window of documents into actions; what cannot be written is set aside."""
        refused = [(draft.document, draft.problem) for draft in drafts if draft.problem is not None]
        read, drafts = len(drafts), [draft for draft in drafts if draft.problem is None]
        digest = _digest(drafts, refused)
        earlier = self.journal.report_of(window.number, digest)
        if earlier is not None and self._has_letters_of(earlier):
            window.done_before = True
            window.ledger.resume(earlier)
            return
        window.begun_before = self.journal.has_begun(window.number, digest)
        self.journal.begin(window.number, digest)
        for document, reason in refused:
            self._refuse(window, document, reason)
        drafts = self._without_stored(drafts, window)
        self._embed(drafts, window.ledger)
        window.ledger.count(read=read)
        form = self.patience(lambda: self.index.vector_form)
        for draft in drafts:
            content_hash = draft.hash if self.keeps_hashes else None
            try:
                stored = with_embedding(draft.source, draft.vector, content_hash, form)
            except UnwritableDocumentError as error:
                self._refuse(window, draft.document, str(error))
                continue
            yield write_action(draft.document.id, stored, self.policy, draft.routing), draft.document

    def _draft(self, document: Document) -> Draft:
        source = source_json(document)
        embedding = document.embedding
        try:
            found = None if embedding is None else len(embedding)
            content_hash = self.hasher.hash(source, embedding, document.meta.get(ROUTING_FIELD))
        except (TypeError, ValueError, OverflowError) as error:
            raise UnwritableDocumentError(f"the embedding is not a list of numbers: {error}") from error
        dimension = self.index.dimension
        if found not in (None, dimension):
            raise UnwritableDocumentError(
                f"carries an embedding of {found} dimensions, the index takes {dimension}; take it away to "
                "have the text embedded"
            )
        return Draft(document, source, content_hash, embedding)

    def _without_stored(self, drafts: list[Draft], window: Window) -> list[Draft]:
        """Leave out what need not be written again; which documents that are depends on the policy."""
        strict = self.policy in (DuplicatePolicy.FAIL, DuplicatePolicy.NONE)
        if self.policy != DuplicatePolicy.SKIP and not self.keeps_hashes:
            return drafts
        if strict and not window.begun_before:
            return drafts
        uncertain = self.in_flight.ids() | _repeated(drafts)  # before the index is asked, not after
        targets = [draft.target() for draft in drafts]
        if self.policy == DuplicatePolicy.SKIP:
            there = self.patience(lambda: self.index.existing_ids(targets))
            left = [draft for draft in drafts if draft.document.id not in there]
        else:
            stored = self.patience(lambda: self.index.stored_sources(targets))
            left = [
                draft
                for draft in drafts
                if draft.document.id in uncertain or not draft.is_stored(stored.get(draft.document.id))
            ]
        # Where nothing may have been there before, what is there was written by the earlier run of this job.
        window.ledger.count(**{"written" if strict else "skipped": len(drafts) - len(left)})
        return left

    def _embed(self, drafts: Sequence[Draft], ledger: Ledger) -> None:
        waiting: list[Draft] = []
        texts: list[str] = []
        for draft in drafts:
            if draft.vector is not None:
                continue
            text = embedding_text(draft.document, self.meta_fields, self.separator)
            if text.strip():
                waiting.append(draft)
                texts.append(text)
            else:
                ledger.count(without_text=1)
        if not texts:
            return
        started = time.perf_counter()
        vectors = self.encoder.encode_documents(texts, on_progress=lambda step: self.tell(step.done))
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
        ledger.count(embedded=len(texts))

    def tell(self, more: int = 0) -> None:
        """Report the progress; ``more`` documents of the present window are embedded."""
        self.on_progress(Progress(self.ledger.counts.read + more, self.total, self.note()))

    def note(self) -> str:
        """Return a few words on where the job stands."""
        counts = self.ledger.counts
        skipped = f", {counts.skipped:,} skipped" if counts.skipped else ""
        refused = f", {counts.rejected:,} refused" if counts.rejected else ""
        return f"{counts.written:,} written{skipped}{refused}"

    def end(self, window: Window) -> None:
        """Note that each document of a window has its answer, or was refused."""
        ledger = window.ledger
        report = WindowReport(ledger.counts, ledger.rejections, ledger.duplicates, self.letters.name)
        if report.rejections:
            self.letters.sync()  # or a power failure could leave a window that is done, without them
        self.journal.end(window.number, report)

    def _has_letters_of(self, earlier: WindowReport) -> bool:
        """Return whether what was refused in a window that is done lies where it is to lie now."""
        return not earlier.rejections or self.letters.name in (None, earlier.dead_letters)

    def _refuse(self, window: Window, document: Document, reason: str) -> None:
        rejection = Rejection(str(document.id), reason)
        window.ledger.reject(rejection)
        self.letters.add(rejection, document)


def _digest(drafts: Sequence[Draft], refused: Sequence[tuple[Document, str]]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for draft in drafts:
        digest.update(f"{draft.hash}{draft.document.id}\0".encode())
    for document, reason in refused:
        digest.update(f"{document.id}\0{reason}\0".encode("utf-8", "surrogatepass"))
    return digest.digest()


def _repeated(drafts: Sequence[Draft]) -> set[str]:
    return {name for name, times in Counter(draft.document.id for draft in drafts).items() if times > 1}
