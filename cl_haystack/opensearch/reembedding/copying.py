"""The documents of one index in another: copied, kept up with, and the deleted ones taken out again.

A pass embeds what was written to the old index since the pass before it. Passes get shorter and shorter as
long as documents are embedded faster than they come in. After a pass that nothing could be written beside,
every id of the old index is in the new one.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson
from haystack import Document
from opensearchpy.exceptions import TransportError

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.documents import StoredDocument
from cl_haystack.opensearch.failures import opensearch_errors, reason_in
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.indexing.jobs import index_documents
from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.reembedding.aliases import ConcreteIndex, find_index
from cl_haystack.opensearch.reembedding.changes import PAGE_IDS, ChangeReader
from cl_haystack.opensearch.reembedding.lease import Lease
from cl_haystack.opensearch.reembedding.report import ReembedReport
from cl_haystack.progress import OnProgress

if TYPE_CHECKING:
    from cl_haystack.encoder.protocol import TextEncoder

_SHORT_PASS_S = 3.0  # what is written during such a pass is embedded in about as long, under the block
_FEW_DOCUMENTS = 50
_PASSES_WITHOUT_GAIN = 3


class TooLongError(Exception):
    """Writers have been blocked for long enough; never leaves a re-embedding."""


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """What is embedded of a document.

    :param meta_fields: meta fields before the content.
    :param separator: stands between them.
    """

    meta_fields: tuple[str, ...] = ()
    separator: str = "\n"


@dataclass(slots=True)
class Copying:
    """Copies documents from an old index to a new one.

    :param old: the old index.
    :param new: the new one, with its model.
    :param encoder: of its model.
    :param text: what is embedded.
    :param patience: repeats requests.
    :param lease: checked before each document.
    :param report: where everything is counted.
    :param on_progress: told the documents done.
    """

    old: ConcreteIndex
    new: OpenSearchIndex
    encoder: "TextEncoder"
    text: EmbeddedText
    patience: Patience
    lease: Lease
    report: ReembedReport
    on_progress: OnProgress
    source: ChangeReader = field(init=False)
    target: ChangeReader = field(init=False)
    reached: dict[int, int] = field(default_factory=dict)
    """Checkpoints of the old index; whatever was written last up to them is in the new one."""

    def __post_init__(self) -> None:
        self.source = ChangeReader(self.new.connection, self.old.name, self.patience)
        self.target = ChangeReader(self.new.connection, self.new.name, self.patience)

    def copy(self) -> None:
        """Read all documents, then what was written meanwhile, until that is little."""
        self.report.read = self.one_pass(None)
        self.catch_up()

    def catch_up(self) -> None:
        """Read what was written meanwhile, until a pass takes a moment.

        :raises IndexingError: passes do not get shorter.
        """
        before, without_gain = float("inf"), 0
        while True:
            started = time.monotonic()
            read = self.one_pass(None)
            self.report.caught_up += read
            if read <= _FEW_DOCUMENTS or time.monotonic() - started < _SHORT_PASS_S:
                return
            without_gain = without_gain + 1 if read >= before else 0
            if without_gain == _PASSES_WITHOUT_GAIN:
                raise IndexingError(
                    f"documents are written to '{self.old.name}' faster than they are embedded; repeat at a "
                    "calmer time or on a faster device. What is embedded is kept"
                )
            before = read

    def one_pass(self, deadline: float | None) -> int:
        """Embed what was written to the old index since the pass before.

        :param deadline: on ``time.monotonic()``; None sets none.
        :returns: how many documents were read.
        :raises TooLongError: the deadline is over.
        :raises RejectedDocumentsError: the new index refuses documents.
        """
        self.patience(self._follow_mapping)
        up_to = self.source.checkpoints()
        behind = sum(last - self.reached.get(shard, -1) for shard, last in up_to.items())
        total = behind if self.reached else self.source.count()
        report = self.patience(
            lambda: index_documents(
                self._documents(up_to, deadline),
                self.new,
                self.encoder,
                meta_fields_to_embed=self.text.meta_fields,
                embedding_separator=self.text.separator,
                on_rejected="raise",
                on_progress=self.told("catching up" if self.reached else "", total),
            )
        )
        self.reached = up_to
        self.report.passes += 1
        for name in ("embedded", "skipped", "written", "without_text", "retries"):
            setattr(self.report, name, getattr(self.report, name) + getattr(report, name))
        return report.read

    def _documents(self, up_to: dict[int, int], deadline: float | None) -> Iterator[Document]:
        for hit in self.source.documents(self.reached, up_to):
            self._go_on(deadline)
            yield StoredDocument(hit)

    def delete_gone(self, deadline: float | None) -> None:
        """Delete from the new index what is not in the old one any more.

        :param deadline: as of :meth:`one_pass`; with one, only shards with unequal numbers of documents are
            looked at, which is enough where nothing is written.
        :raises TooLongError: the deadline is over.
        """
        up_to = self.target.checkpoints()
        shards = self._shards_to_compare(up_to) if deadline is not None else list(up_to)
        hits = self.target.ids({}, {shard: up_to[shard] for shard in shards})
        while batch := list(itertools.islice(hits, PAGE_IDS)):
            self._go_on(deadline)
            answers = self.source.find(batch)
            gone = [hit for hit, answer in zip(batch, answers, strict=True) if not answer["found"]]
            self._delete(gone)
            self.report.deleted += len(gone)

    def _shards_to_compare(self, up_to: dict[int, int]) -> list[int]:
        """Return the shards in which the two indices have different numbers of documents."""
        shards = list(up_to)
        if sorted(shards) != sorted(self.reached):
            return shards if self.source.count() != self.target.count() else []
        old, new = self.source.counts(shards=shards), self.target.counts(shards=shards)
        return [shard for shard in shards if old[shard] != new[shard]]

    def _delete(self, hits: Sequence[dict[str, Any]]) -> None:
        if not hits:
            return
        lines = [orjson.dumps({"delete": {"_id": hit["_id"]} | _routing(hit)}) for hit in hits]

        def request() -> None:
            with opensearch_errors(self.new.connection.url, self.new.name):
                client: Any = self.new.connection.client()
                answer = client.bulk(body=b"\n".join(lines) + b"\n", index=self.new.name)
                for item in answer["items"]:
                    if item["delete"]["status"] not in (200, 404):
                        raise TransportError(item["delete"]["status"], reason_in(item["delete"]), answer)

        self.patience(request)

    def _follow_mapping(self) -> None:
        """Let the new index know the fields that the old one has learnt, so that both read them alike."""
        now = find_index(self.new.connection, self.old.name)
        if now is None or now.uuid != self.old.uuid:
            raise IndexingError(
                f"index '{self.old.name}' at {self.new.connection.url} was deleted meanwhile; "
                "nothing was moved"
            )
        there = find_index(self.new.connection, self.new.name)
        known = {} if there is None else there.mapping.get("properties", {})
        learnt = {
            name: mapping for name, mapping in now.mapping.get("properties", {}).items() if name not in known
        }
        if learnt:
            with opensearch_errors(self.new.connection.url, self.new.name):
                self.new.connection.client().indices.put_mapping(
                    index=self.new.name, body={"properties": learnt}
                )

    def _go_on(self, deadline: float | None) -> None:
        self.lease.check()
        if deadline is not None and time.monotonic() > deadline:
            raise TooLongError

    def told(self, note: str, total: int | None = None) -> OnProgress:
        """Return a callback that adds what it is about to the progress."""
        return lambda step: self.on_progress(replace(step, total=step.total or total, note=note or step.note))


def _routing(hit: dict[str, Any]) -> dict[str, str]:
    return {"routing": hit["_routing"]} if "_routing" in hit else {}
