"""Bulk requests that lose nothing: chunks bounded in bytes, repeated until every document has an answer.

One request may carry thousands of documents, each with a fate of its own. An answer per document decides:
written; skipped, because it was there already; refused for good, and then kept with the reason; or busy,
and then sent again, alone, after a pause that grows. A request that fails as a whole is repeated when time
may heal it (connection, timeout, 429, 5xx) and halved when one document in it may be the cause (400, 413).
Ids are the documents' own, so sending again never doubles anything.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException, TransportError
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event

from cl_haystack.errors import CLHaystackError, IndexingError, ServerUnavailableError
from cl_haystack.opensearch.failures import (
    TOO_MANY_REQUESTS,
    opensearch_errors,
    reason_in,
    reason_of,
    translate,
)

logger = logging.getLogger(__name__)

DEFAULT_CHUNK_BYTES = 2_000_000
DEFAULT_RETRY_FOR_S = 120.0
_FIRST_PAUSE_S = 0.5  # at most; each pause is a random part of a span that doubles
_LONGEST_PAUSE_S = 20.0
_CONFLICT = 409
_ANSWER_FIELDS = "errors,items.*._index,items.*.status,items.*.error"


@dataclass(frozen=True, slots=True)
class Action:
    """One document on its way: its id, and the two lines of NDJSON that write it."""

    id: str
    lines: bytes


@dataclass(frozen=True, slots=True)
class Rejection:
    """A document that will not be written, and why. ``status`` is 0 where the server was not asked."""

    id: str
    reason: str
    status: int = 0


@dataclass(slots=True)
class Outcome:
    """What became of the actions of one chunk; every action is in exactly one of the three."""

    written: int = 0
    skipped: int = 0
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


def chunks(actions: Iterable[Action], max_bytes: int) -> Iterator[list[Action]]:
    """Group actions, in order, into chunks of at most ``max_bytes``; a larger action travels alone."""
    chunk: list[Action] = []
    size = 0
    for action in actions:
        if chunk and size + len(action.lines) > max_bytes:
            yield chunk
            chunk, size = [], 0
        chunk.append(action)
        size += len(action.lines)
    if chunk:
        yield chunk


class _Unfinished(Exception):  # noqa: N818  (a signal to the retry loop, seen by nobody else)
    def __init__(self, error: CLHaystackError) -> None:
        self.error = error


class BulkWriter:
    """Sends chunks to one index until each of their documents has a final answer.

    :param client: an opensearch-py client.
    :param url: the server's address, for messages.
    :param index: name of an index or of an alias with one write index.
    :param policy: what happens to documents that are there already.
    :param retry_for_s: how long one chunk is repeated before the error is raised.
    :param stop: set from another thread to give up at once.
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
    ) -> None:
        self._client = client
        self._url = url
        self._index = index
        self._policy = policy
        self._stop = stop or threading.Event()
        self._retrying = Retrying(
            retry=retry_if_exception_type(_Unfinished),
            stop=stop_any(stop_after_delay(retry_for_s), stop_when_event_set(self._stop)),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
            sleep=sleep_using_event(self._stop),
            before_sleep=self._log_pause,
            reraise=True,
        )

    def send(self, chunk: Sequence[Action]) -> Outcome:
        """Write a chunk.

        :param chunk: the actions; any number.
        :returns: what became of them.
        :raises DuplicateDocumentError: the policy is FAIL or NONE and documents are there already; all
            others of the chunk were written.
        :raises IndexingError: the index cannot be written to.
        :raises ServerUnavailableError: the server did not take them for ``retry_for_s`` seconds.
        """
        attempt = _ChunkAttempt(list(chunk))
        try:
            for state in self._retrying:
                with state:
                    self._send_pending(attempt)
        except _Unfinished as unfinished:
            raise unfinished.error from unfinished.__cause__
        attempt.outcome.retries = state.retry_state.attempt_number - 1
        if attempt.duplicates:
            ids = ", ".join(repr(action.id) for action in attempt.duplicates[:10])
            raise DuplicateDocumentError(
                f"index '{self._index}': {len(attempt.duplicates)} documents are there already: {ids}; use "
                "DuplicatePolicy.OVERWRITE to replace or DuplicatePolicy.SKIP to keep them"
            )
        return attempt.outcome

    def _send_pending(self, attempt: "_ChunkAttempt") -> None:
        busy: list[Action] = []
        problem = ""
        parts = [attempt.pending]
        refused_alone: list[Rejection] = []
        while parts:
            part = parts.pop()
            try:
                answer = self._request(part)
            except OpenSearchException as error:
                if not _may_be_one_document(error):
                    attempt.pending = [*busy, *part, *(action for rest in reversed(parts) for action in rest)]
                    attempt.uncertain |= not _has_status(error)
                    raise self._repeatable(error) from error
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    refused_alone.append(_rejection(part[0], error))
                if len(refused_alone) == len(attempt.pending) > 1:
                    raise translate(
                        error, self._url, self._index
                    ) from error  # so the documents are not the cause
                continue
            still_busy, reason = self._read_answer(part, answer, attempt)
            busy += still_busy
            problem = reason or problem
        attempt.outcome.rejections += refused_alone
        attempt.pending = busy
        if busy:
            raise _Unfinished(
                ServerUnavailableError(self._url, f"is too busy for {len(busy)} documents: {problem}")
            )

    def _request(self, part: Sequence[Action]) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.bulk(
            body=b"".join(action.lines for action in part),
            index=self._index,
            params={"filter_path": _ANSWER_FIELDS},
        )
        return answer

    def _read_answer(
        self, part: Sequence[Action], answer: dict[str, Any], attempt: "_ChunkAttempt"
    ) -> tuple[list[Action], str]:
        items = answer.get("items", [])
        if len(items) != len(part):
            raise IndexingError(
                f"index '{self._index}' at {self._url}: {len(part)} documents were sent and {len(items)} "
                "answered for; something between here and OpenSearch changes requests"
            )
        busy: list[Action] = []
        problem = ""
        for action, item in zip(part, items, strict=True):
            ((verb, result),) = item.items()
            status = result["status"]
            if "_index" in result:
                attempt.outcome.indices.add(result["_index"])
            if status < 300:
                attempt.outcome.written += 1
            elif status == _CONFLICT and verb == "create":
                self._settle_conflict(action, attempt)
            elif _is_busy(status):
                busy.append(action)
                problem = reason_in(result)
            else:
                self._refuse_if_the_index_is_the_cause(result)
                attempt.outcome.rejections.append(Rejection(action.id, reason_in(result), status))
        return busy, problem

    def _settle_conflict(self, action: Action, attempt: "_ChunkAttempt") -> None:
        """Decide whether a document that is there was written by a request of ours that seemed lost."""
        if attempt.uncertain and self._is_stored(action):
            attempt.outcome.written += 1
        elif self._policy == DuplicatePolicy.SKIP:
            attempt.outcome.skipped += 1
        else:
            attempt.duplicates.append(action)

    def _is_stored(self, action: Action) -> bool:
        sent = orjson.loads(action.lines.split(b"\n", 1)[1])
        sent.pop("embedding", None)
        with opensearch_errors(self._url, self._index):
            answer = self._client.mget(
                body={"ids": [action.id]}, index=self._index, params={"_source_excludes": "embedding"}
            )
        return bool(answer["docs"][0].get("_source") == sent)

    def _refuse_if_the_index_is_the_cause(self, result: dict[str, Any]) -> None:
        kind = str(result.get("error", {}).get("type", ""))
        if "cluster_block" in kind or "index_not_found" in kind or "security_exception" in kind:
            raise IndexingError(
                f"index '{self._index}' at {self._url} takes no documents: {reason_in(result)}; restore it, "
                "then repeat: documents that are written already are not doubled"
            )

    def _repeatable(self, error: OpenSearchException) -> Exception:
        ours = translate(error, self._url, self._index)
        return _Unfinished(ours) if not _has_status(error) or _is_busy(_status(error)) else ours

    def _log_pause(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, _Unfinished):
            logger.warning("bulk request repeated (attempt %d): %s", state.attempt_number, error.error)


@dataclass(slots=True)
class _ChunkAttempt:
    """Where one chunk stands between two requests. ``uncertain``: a request may have arrived unseen."""

    pending: list[Action]
    outcome: Outcome = field(default_factory=Outcome)
    duplicates: list[Action] = field(default_factory=list)
    uncertain: bool = False


def _has_status(error: OpenSearchException) -> bool:
    """Return whether the server answered; if not, whether it acted on the request is unknown."""
    return isinstance(error, TransportError) and isinstance(error.status_code, int)


def _status(error: OpenSearchException) -> int:
    return int(error.status_code) if isinstance(error, TransportError) and _has_status(error) else 0


def _is_busy(status: int) -> bool:
    return status == TOO_MANY_REQUESTS or status >= 500


def _may_be_one_document(error: OpenSearchException) -> bool:
    return _status(error) in (400, 413)


def _rejection(action: Action, error: OpenSearchException) -> Rejection:
    reason = reason_of(error) if isinstance(error, TransportError) else str(error)
    return Rejection(action.id, reason, _status(error))
