"""Re-embedding: another model for an alias, while documents are written and searched all the time.

1. **Make** ``<alias>-<short fingerprint>``, like the index that the alias leads to, for the new model.
2. **Copy**: every document of the old index, its ``_source`` unchanged, through the indexing job.
3. **Catch up**: documents that were written since, by their sequence numbers (:mod:`.changes`), until a pass
   takes a moment; documents that were deleted since, by asking the old index for every id of the new one.
4. **Look**: a sample of the documents, embedded again; the gate's questions, to both indices.
5. **Move**: block writes to the old index, catch up with the last of them, compare the number of documents,
   move the alias in one request. The old index stays blocked, as it was, for the way back.

What this guarantees, and why:

* *No acknowledged write is lost.* The server puts the block on when all writes before it have ended; the pass
  after it starts from a checkpoint that the pass before it has reached, below which no write can be undone.
  Every id of the old index is then in the new one, so equal numbers of documents mean equal ids; where they
  differ, deleted documents are looked for under the block.
* *No vector of the old model reaches the new index* from writers of this package: they write to the concrete
  index that they have checked, which is blocked. They wait, then find the alias moved: SpaceMismatchError
  before anything is written. Others have to be stopped, or would write old vectors through the moved alias.
* *Searches never wait and never miss an index.* The alias leads to one index before and after one request.
* *A process that dies is run again*, with the same outcome: what was embedded is recognised by its hash. The
  next run lifts a block that it left behind. :mod:`.lease` keeps two from running at a time.

What it cannot guarantee: that writers get through while they are blocked for longer than they wait
(``max_block_s`` bounds it, ours wait 120 s); that a process which was suspended for half a minute, and so
lost its lease, has no last request on the way; that what is not of this package stops writing old vectors.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cl_haystack.errors import SpaceMismatchError
from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience
from cl_haystack.opensearch.reembedding.aliases import ConcreteIndex, behind_alias
from cl_haystack.opensearch.reembedding.beginning import begin
from cl_haystack.opensearch.reembedding.copying import Copying, EmbeddedText
from cl_haystack.opensearch.reembedding.gate import Gate, ask_gate, check_gate
from cl_haystack.opensearch.reembedding.lease import Lease
from cl_haystack.opensearch.reembedding.moving import Moving
from cl_haystack.opensearch.reembedding.report import ReembedReport
from cl_haystack.opensearch.reembedding.sampling import verify_sample
from cl_haystack.progress import OnProgress, ignore

if TYPE_CHECKING:
    from cl_haystack.encoder.protocol import TextEncoder

DEFAULT_MAX_BLOCK_S = 60.0


def reembed(
    index: OpenSearchIndex,
    encoder: "TextEncoder",
    *,
    gate: Gate | None = None,
    remove_refused: bool = False,
    force: bool = False,
    meta_fields_to_embed: Sequence[str] = (),
    embedding_separator: str = "\n",
    max_block_s: float = DEFAULT_MAX_BLOCK_S,
    retry_for_s: float = DEFAULT_RETRY_FOR_S,
    on_progress: OnProgress = ignore,
) -> ReembedReport:
    """Embed the documents behind an alias with another model, and move the alias to them.

    Documents may be written and deleted, and are found, all the time. Run it again after whatever went wrong.

    :param index: the alias, opened with the *new* model. Its settings go before those of the old index.
    :param encoder: the encoder of the new model.
    :param gate: what the new index has to show before the alias is moved; None asks nothing.
    :param remove_refused: delete the new index if the gate refuses it; else it is kept, and gone on from.
    :param force: re-embed though the alias belongs to the model's vector space already.
    :param meta_fields_to_embed: meta fields that are embedded before the content.
    :param embedding_separator: stands between them.
    :param max_block_s: seconds that writers are made to wait at most; what takes longer is put off.
    :param retry_for_s: how long a request is repeated while the server is busy or away.
    :param on_progress: told the documents or questions done.
    :returns: what was done; ``moved`` says whether the alias leads to the new index.
    :raises IndexingError: there is no such alias, it is an index, it leads to several, another process
        re-embeds it, documents come in faster than they are embedded, or the new index is not what it
        should be.
    :raises SpaceMismatchError: the encoder is not of the index's model, or the gate's not of the old one.
    :raises RejectedDocumentsError: the new index refused documents; the alias was not moved.
    :raises ServerUnavailableError: the server cannot be reached, or not for ``retry_for_s`` seconds.
    """
    started = time.perf_counter()
    behind_alias(index.connection, index.name)  # what is wrong with it is said before anything is waited for
    _check_encoder(index, encoder)
    patience = Patience(retry_for_s, threading.Event())
    with Lease(index.connection, index.name, patience) as lease:
        old = patience(lambda: behind_alias(index.connection, index.name))
        if not force and _is_of_this_space(old, index):
            return ReembedReport(index.name, old.name, old.name, needless=True)
        if gate is not None:
            check_gate(gate, index.connection, old, patience)
        new = begin(index, old, patience)
        report = ReembedReport(index.name, old.name, new.name)
        text = EmbeddedText(tuple(meta_fields_to_embed), embedding_separator)
        copying = Copying(old, new, encoder, text, patience, lease, report, on_progress)
        _timed(report, "copy", copying.copy)
        _timed(report, "verify", lambda: _verify(copying))
        if gate is not None:
            _timed(report, "gate", lambda: _ask(gate, copying))
        if report.gate is None or report.gate.passed:
            report.seconds["blocked"] = Moving(index.connection, index.name, copying, max_block_s).move()
            report.moved = True
        elif remove_refused:
            patience(new.delete)
            report.removed = True
    report.seconds["total"] = time.perf_counter() - started
    return report


def _check_encoder(index: OpenSearchIndex, encoder: "TextEncoder") -> None:
    cut = index.settings.truncate_dim
    IndexBinding.of(index.bundle, cut).check(getattr(encoder, "bundle", index.bundle), index.name, cut)


def _is_of_this_space(old: ConcreteIndex, index: OpenSearchIndex) -> bool:
    binding = IndexBinding.read(old.mapping, old.name)
    try:
        if binding is not None:
            binding.check(index.bundle, old.name, index.settings.truncate_dim)
    except SpaceMismatchError:
        return False
    return binding is not None


def _verify(copying: Copying) -> None:
    copying.report.sampled, copying.report.lowest_cosine = verify_sample(
        copying.source,
        copying.target,
        copying.new,
        copying.encoder,
        up_to=copying.reached,
        meta_fields=copying.text.meta_fields,
        separator=copying.text.separator,
    )


def _ask(gate: Gate, copying: Copying) -> None:
    copying.delete_gone(None)  # so that both are asked about the same documents
    copying.report.gate = ask_gate(
        gate, copying.old, copying.new, copying.encoder, copying.told("questions asked")
    )


def _timed(report: ReembedReport, name: str, step: Callable[[], None]) -> None:
    started = time.perf_counter()
    step()
    report.seconds[name] = time.perf_counter() - started
