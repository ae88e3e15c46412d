"""Bulk requests that lose nothing: chunks bounded in bytes, repeated until every document has an answer.

One request may carry thousands of documents, each with a fate of its own. An answer per document decides:
written; there already, which is skipped or a duplicate, as the policy says; refused for good, and then kept
with the reason; or busy, and then sent again, alone, after a pause that grows. An index that is blocked
against writes, by people or because the disk is full, is waited for as well. A request that fails as a whole
is repeated when time may heal it (connection, timeout, 429, 5xx) and halved when one document in it may be
the cause (400, 413). Ids are the documents' own, so sending again never doubles anything.
"""

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from haystack.document_stores.types import DuplicatePolicy
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException, TransportError

from cl_haystack.errors import CLHaystackError, IndexingError, ServerUnavailableError
from cl_haystack.opensearch.failures import (
    TOO_MANY_REQUESTS,
    is_busy,
    may_heal,
    opensearch_errors,
    reason_in,
    reason_of,
    status_of,
    translate,
)
from cl_haystack.opensearch.indexing.write_target import WriteTarget
from cl_haystack.opensearch.mapping import EMBEDDING_FIELD
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience

_CONFLICT = 409
_TOO_LARGE = 413
_ANSWER_FIELDS = "errors,items.*._index,items.*.status,items.*.error"


@dataclass(frozen=True, slots=True)
class Action:
    """One document on its way: its id, and the two lines of NDJSON that write it."""

    id: str
    lines: bytes

    @property
    def target(self) -> dict[str, Any]:
        """Id and routing, as the request names them."""
        ((_, target),) = orjson.loads(self.lines.split(b"\n", 1)[0]).items()
        return dict(target)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A document that will not be written, and why. ``status`` is 0 where the server was not asked."""

    id: str
    reason: str
    status: int = 0


@dataclass(slots=True)
class Outcome:
    """What became of the actions of one chunk; every action is in exactly one of the first four.

    ``duplicates``: ids of documents that are there already, where the policy is FAIL or NONE.
    """

    written: int = 0
    skipped: int = 0
    duplicates: list[str] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    retries: int = 0
    indices: set[str] = field(default_factory=set)


def write_action(
    document_id: str, source: bytes, policy: DuplicatePolicy, routing: str | None = None
) -> Action:
    """Return the action that writes one document.

    :param document_id: becomes the ``_id``, so that writing twice leaves one.
    :param source: the document as a JSON object.
    :param policy: OVERWRITE replaces; the others write only what is not there.
    :param routing: shard routing value, if any.
    :returns: the action.
    """
    verb = "index" if policy == DuplicatePolicy.OVERWRITE else "create"
    target = {"_id": document_id} if routing is None else {"_id": document_id, "routing": routing}
    return Action(document_id, orjson.dumps({verb: target}) + b"\n" + source + b"\n")


class _Unfinished(Exception):  # noqa: N818  (a signal to the retry loop, seen by nobody else)
    def __init__(self, error: CLHaystackError) -> None:
        self.error = error
        super().__init__(str(error))


class BulkWriter:
    """Sends chunks to one index until each of their documents has a final answer.

    :param client: an opensearch-py client; should it repeat requests by itself, it does not do so here.
    :param url: the server's address, for messages.
    :param index: name of an index or of an alias with one write index.
    :param policy: what happens to documents that are there already.
    :param retry_for_s: how long one chunk is repeated before the error is raised.
    :param stop: set from another thread to give up at once.
    :param target: where an alias leads, so that no document follows it to another model's index; without it,
        requests name ``index``.
    """

    def __init__(
        self,
        client: OpenSearch,
        *,
        url: str,
        index: str,
        policy: DuplicatePolicy = DuplicatePolicy.OVERWRITE,
        retry_for_s: float = DEFAULT_RETRY_FOR_S,
        stop: threading.Event | None = None,
        target: WriteTarget | None = None,
    ) -> None:
        self._client = _without_own_repeats(client)
        self._url = url
        self._index = index
        self._policy = policy
        self._target = target
        self._patience = Patience(retry_for_s, stop or threading.Event())

    def send(self, chunk: Sequence[Action], *, resumed: bool = False) -> Outcome:
        """Write a chunk.

        :param chunk: the actions; any number, each id once.
        :param resumed: an earlier run may have written some of these documents already.
        :returns: what became of them.
        :raises IndexingError: the index cannot be written to.
        :raises ServerUnavailableError: the server did not take them for ``retry_for_s`` seconds.
        """
        attempt = _ChunkAttempt(list(chunk), uncertain=resumed)
        try:
            for state in self._patience.retrying(lambda error: isinstance(error, _Unfinished)):
                with state:
                    self._send_pending(attempt)
        except _Unfinished as unfinished:
            raise unfinished.error from unfinished.__cause__
        attempt.outcome.retries = state.retry_state.attempt_number - 1
        return attempt.outcome

    def _send_pending(self, attempt: "_ChunkAttempt") -> None:
        busy: list[Action] = []
        problem: CLHaystackError | None = None
        index = self._concrete()
        parts = [attempt.pending]
        while parts:
            part = parts.pop()
            try:
                answer = self._request(part, index)
            except OpenSearchException as error:
                if not _may_be_one_document(error):
                    attempt.pending = [*busy, *part, *(action for rest in reversed(parts) for action in rest)]
                    # Any other status may be that of a proxy, which gave up after the server had written.
                    attempt.uncertain |= status_of(error) != TOO_MANY_REQUESTS
                    raise self._repeatable(error) from error
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    self._refuse_alone(part[0], error, attempt)
                continue
            still_busy, found = self._read_answer(part, answer, attempt)
            busy += still_busy
            problem = found or problem
        attempt.pending = busy
        if problem is not None:
            raise _Unfinished(problem)

    def _refuse_alone(self, action: Action, error: OpenSearchException, attempt: "_ChunkAttempt") -> None:
        """Refuse a document that fails a request by itself; the rest of the chunk may still have to wait."""
        attempt.outcome.rejections.append(_rejection(action, error))
        if len(attempt.outcome.rejections) == attempt.size > 1 and not _is_about_documents(error):
            raise translate(error, self._url, self._index) from error

    def _concrete(self) -> str:
        try:
            return self._index if self._target is None else self._target.name()
        except ServerUnavailableError as error:
            raise _Unfinished(error) from error.__cause__

    def _request(self, part: Sequence[Action], index: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.bulk(
            body=b"".join(action.lines for action in part),
            index=index,
            params={"filter_path": _ANSWER_FIELDS},
        )
        return answer

    def _read_answer(
        self, part: Sequence[Action], answer: dict[str, Any], attempt: "_ChunkAttempt"
    ) -> tuple[list[Action], CLHaystackError | None]:
        items = answer.get("items", [])
        if len(items) != len(part):
            raise IndexingError(
                f"index '{self._index}' at {self._url}: {len(part)} documents were sent and {len(items)} "
                "answered for; something between here and OpenSearch changes requests"
            )
        busy: list[Action] = []
        problem: CLHaystackError | None = None
        for action, item in zip(part, items, strict=True):
            ((verb, result),) = item.items()
            status = result["status"]
            if "_index" in result:
                attempt.outcome.indices.add(result["_index"])
            if status < 300:
                attempt.outcome.written += 1
            elif status == _CONFLICT and verb == "create":
                self._settle_conflict(action, attempt)
            elif _is_the_index(result):
                problem = self._index_problem(result)
                if not _is_blocked(result):
                    raise problem
                busy.append(action)
            elif is_busy(status):
                attempt.uncertain |= status != TOO_MANY_REQUESTS
                reason = f"is too busy: {reason_in(result)}; repeat when it is calm"
                problem = ServerUnavailableError(self._url, reason)
                busy.append(action)
            else:
                attempt.outcome.rejections.append(Rejection(action.id, reason_in(result), status))
        return busy, problem

    def _settle_conflict(self, action: Action, attempt: "_ChunkAttempt") -> None:
        """Decide whether a document that is there was written by a request of ours that seemed lost."""
        if attempt.uncertain and self._is_stored(action):
            attempt.outcome.written += 1
        elif self._policy == DuplicatePolicy.SKIP:
            attempt.outcome.skipped += 1
        else:
            attempt.outcome.duplicates.append(action.id)

    def _is_stored(self, action: Action) -> bool:
        sent = orjson.loads(action.lines.split(b"\n", 1)[1])
        sent.pop(EMBEDDING_FIELD, None)

        def stored() -> dict[str, Any]:
            with opensearch_errors(self._url, self._index):
                answer: dict[str, Any] = self._client.mget(
                    body={"docs": [action.target]},
                    index=self._index,
                    params={"_source_excludes": EMBEDDING_FIELD},
                )
            return answer

        return bool(self._patience(stored)["docs"][0].get("_source") == sent)

    def _index_problem(self, result: dict[str, Any]) -> IndexingError:
        way_out = "restore it"
        if _is_blocked(result):
            way_out = "free disk space or lift the block"
        elif _lacks_write_index(reason_in(result)):
            way_out = "say which index of the alias is the write index"
        return IndexingError(
            f"index '{self._index}' at {self._url} takes no documents: {reason_in(result)}; {way_out}, then "
            "repeat: documents that are written already are not doubled"
        )

    def _repeatable(self, error: OpenSearchException) -> Exception:
        ours = translate(error, self._url, self._index)
        return _Unfinished(ours) if may_heal(error) or "cluster_block" in str(error) else ours


@dataclass(slots=True)
class _ChunkAttempt:
    """Where one chunk stands between two requests. ``uncertain``: a request may have arrived unseen."""

    pending: list[Action]
    uncertain: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.pending)


def _without_own_repeats(client: OpenSearch) -> OpenSearch:
    """Return a client on the same connections of which each request is one: unseen repeats mislead."""
    if not client.transport.max_retries:
        return client
    single = copy.copy(client)
    single.transport = copy.copy(client.transport)
    single.transport.max_retries = 0
    return single


def _is_the_index(result: dict[str, Any]) -> bool:
    kind = str(result.get("error", {}).get("type", ""))
    known = "cluster_block" in kind or "index_not_found" in kind or "security_exception" in kind
    return known or _lacks_write_index(reason_in(result))


def _is_blocked(result: dict[str, Any]) -> bool:
    """Return whether writes are blocked for now: by people, a re-embedding, or a disk that is full."""
    return "cluster_block" in str(result.get("error", {}).get("type", ""))


def _lacks_write_index(reason: str) -> bool:
    """Return whether an alias leads to several indices, none of which is the one to write to."""
    return reason.startswith("no write index is defined")  # a text of the user's may be quoted further on


def _may_be_one_document(error: OpenSearchException) -> bool:
    return status_of(error) in (400, _TOO_LARGE) and not _lacks_write_index(_reason(error))


def _is_about_documents(error: OpenSearchException) -> bool:
    """Return whether documents are the cause even where all are refused: too large, or as OpenSearch says.

    A 400 in other words comes from something between here and OpenSearch, which may refuse any request.
    """
    info = error.info if isinstance(error, TransportError) else None
    return status_of(error) == _TOO_LARGE or (isinstance(info, dict) and isinstance(info.get("error"), dict))


def _rejection(action: Action, error: OpenSearchException) -> Rejection:
    return Rejection(action.id, _reason(error), status_of(error) or 0)


def _reason(error: OpenSearchException) -> str:
    return reason_of(error) if isinstance(error, TransportError) else str(error)
