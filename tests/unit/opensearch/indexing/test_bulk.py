"""Bulk requests against a scripted client: every document ends in exactly one place."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from haystack.document_stores.types import DuplicatePolicy
from hypothesis import given
from hypothesis import strategies as st
from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthenticationException,
    ConnectionTimeout,
    NotFoundError,
    RequestError,
    TransportError,
)
from opensearchpy.exceptions import ConnectionError as TransportConnectionError

from cl_haystack.errors import IndexingError, ServerUnavailableError
from cl_haystack.opensearch import patience
from cl_haystack.opensearch.indexing.bulk import Action, BulkWriter, Rejection, write_action

Answer = dict[str, Any] | Exception
BUSY = {"type": "rejected_execution_exception", "reason": "queue is full"}
BROKEN = {"type": "mapper_parsing_exception", "reason": "failed to parse field [year]"}


def actions(count: int, policy: DuplicatePolicy = DuplicatePolicy.OVERWRITE) -> list[Action]:
    return [write_action(str(number), b'{"n":%d}' % number, policy) for number in range(count)]


class ScriptedClient:
    """Answers bulk requests by a function of (call number, ids)."""

    transport = SimpleNamespace(max_retries=0)

    def __init__(self, script: Callable[[int, list[str]], Answer | dict[str, int]]) -> None:
        self.script = script
        self.requests: list[list[str]] = []

    def bulk(self, *, body: bytes, index: str, params: dict[str, str]) -> Any:
        heads = [orjson.loads(line) for line in body.splitlines()[::2]]
        verb = next(iter(heads[0]))
        ids = [head[verb]["_id"] for head in heads]
        self.requests.append(ids)
        answer = self.script(len(self.requests) - 1, ids)
        if isinstance(answer, Exception):
            raise answer
        errors = {429: BUSY, 503: BUSY, 400: BROKEN, 409: {"type": "version_conflict_engine_exception"}}
        items = [
            {verb: {"_index": index, "status": status, "error": errors.get(status)}}
            for status in (answer.get(key, 201) for key in ids)
        ]
        return {"errors": bool(answer), "items": items}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.002)


def writer(script: Callable[[int, list[str]], Any], **options: Any) -> tuple[BulkWriter, ScriptedClient]:
    client = ScriptedClient(script)
    return BulkWriter(client, url="http://server", index="docs", **options), client  # type: ignore[arg-type]


def test_an_action_is_two_lines_with_the_documents_own_id() -> None:
    action = write_action('a"b', b'{"x":1}', DuplicatePolicy.SKIP, routing="r")
    assert action.lines == b'{"create":{"_id":"a\\"b","routing":"r"}}\n{"x":1}\n'
    assert write_action("1", b"{}", DuplicatePolicy.OVERWRITE).lines.startswith(b'{"index":')


def test_all_written_in_one_request() -> None:
    sender, client = writer(lambda call, ids: {})
    outcome = sender.send(actions(5))
    assert (outcome.written, outcome.skipped, outcome.rejections, outcome.retries) == (5, 0, [], 0)
    assert outcome.indices == {"docs"}
    assert len(client.requests) == 1


def test_only_busy_documents_are_sent_again_and_broken_ones_never() -> None:
    sender, client = writer(lambda call, ids: {"1": 429, "2": 400, "3": 503} if call == 0 else {})
    outcome = sender.send(actions(5))
    assert client.requests == [["0", "1", "2", "3", "4"], ["1", "3"]]
    assert outcome.written == 4
    assert outcome.rejections == [Rejection("2", "failed to parse field [year]", 400)]
    assert outcome.retries == 1


@pytest.mark.parametrize(
    "error",
    [
        TransportError(429, "busy", {}),
        TransportError(503, "unavailable", "text"),
        ConnectionTimeout("TIMEOUT", "slow", TimeoutError()),
        TransportConnectionError("N/A", "refused", OSError()),
    ],
    ids=["429", "503", "timeout", "connection"],
)
def test_a_request_that_time_may_heal_is_repeated_whole(error: Exception) -> None:
    sender, client = writer(lambda call, ids: error if call < 3 else {})
    outcome = sender.send(actions(4))
    assert (outcome.written, outcome.retries) == (4, 3)
    assert client.requests == [["0", "1", "2", "3"]] * 4


@pytest.mark.parametrize("status", [400, 413])
def test_a_poisonous_document_is_found_by_halving(status: int) -> None:
    def script(call: int, ids: list[str]) -> Answer | dict[str, int]:
        poison = "5" in ids if status == 400 else len(ids) > 2
        kind = RequestError if status == 400 else TransportError
        return kind(status, "refused", {"error": {"root_cause": [{"reason": "bad"}]}}) if poison else {}

    sender, _ = writer(script)
    outcome = sender.send(actions(8))
    assert outcome.written == (7 if status == 400 else 8)
    assert [rejection.id for rejection in outcome.rejections] == (["5"] if status == 400 else [])


def test_when_something_in_between_refuses_every_document_the_request_is_the_cause() -> None:
    sender, client = writer(lambda call, ids: RequestError(400, "plain HTTP was sent to the HTTPS port", ""))
    with pytest.raises(IndexingError, match="plain HTTP"):
        sender.send(actions(4))
    assert ["3"] in client.requests


@pytest.mark.parametrize(
    "error",
    [
        TransportError(413, "Request Entity Too Large", "<html>"),
        RequestError(400, "illegal_argument_exception", {"error": {"reason": "malformed action line"}}),
    ],
    ids=["413", "400"],
)
def test_a_chunk_of_poison_alone_is_refused_and_the_job_goes_on(error: Exception) -> None:
    sender, _ = writer(lambda call, ids: error)
    outcome = sender.send(actions(3))
    assert [rejection.id for rejection in outcome.rejections] == ["0", "1", "2"]


NO_WRITE_INDEX = {"type": "illegal_argument_exception", "reason": "no write index is defined for alias [a]"}


def test_an_alias_without_a_write_index_is_no_fault_of_the_documents() -> None:
    class Undecided(ScriptedClient):
        def bulk(self, **arguments: Any) -> Any:
            super().bulk(**arguments)
            return {"errors": True, "items": [{"index": {"status": 400, "error": NO_WRITE_INDEX}}] * 2}

    whole = RequestError(400, "illegal_argument_exception", {"error": NO_WRITE_INDEX})
    for client in (Undecided(lambda call, ids: {}), ScriptedClient(lambda call, ids: whole)):
        sender = BulkWriter(client, url="http://server", index="docs")  # type: ignore[arg-type]
        with pytest.raises(IndexingError, match="no write index is defined"):
            sender.send(actions(2))
        assert len(client.requests) == 1


def test_halving_and_a_busy_server_at_once_lose_nothing() -> None:
    """The second half fails after the first was written: only the second is sent again."""

    def script(call: int, ids: list[str]) -> Answer | dict[str, int]:
        if call == 0:
            return TransportError(413, "too large", "")
        if call == 2:
            return TransportError(429, "busy", {})
        return {}

    sender, client = writer(script)
    outcome = sender.send(actions(4))
    assert client.requests == [["0", "1", "2", "3"], ["0", "1"], ["2", "3"], ["2", "3"]]
    assert outcome.written == 4


@pytest.mark.parametrize("status", [400, 413])
def test_what_was_refused_before_the_server_got_busy_is_not_forgotten(status: int) -> None:
    """Document 0 is refused alone, then the request with the rest of the chunk has to be repeated."""
    busy = iter([TransportError(503, "busy", {})])

    def script(call: int, ids: list[str]) -> Answer | dict[str, int]:
        return TransportError(status, "refused", {}) if "0" in ids else next(busy, {})

    sender, client = writer(script)
    outcome = sender.send(actions(4))
    assert client.requests[-1] == ["1", "2", "3"]
    assert outcome.written == 3
    assert outcome.rejections == [Rejection("0", "refused", status)]


class StoringClient(ScriptedClient):
    """Keeps what it is sent, also where the answer is an error: that of a proxy, behind which it stands."""

    def __init__(self, script: Callable[[int, list[str]], Any]) -> None:
        super().__init__(script)
        self.stored: dict[str, Any] = {}

    def bulk(self, *, body: bytes, **arguments: Any) -> Any:
        lines = [orjson.loads(line) for line in body.splitlines()]
        new = {head["create"]["_id"]: source for head, source in zip(lines[::2], lines[1::2], strict=True)}
        conflicts = dict.fromkeys(self.stored.keys() & new, 409)
        self.stored = new | self.stored
        answer = self.script(len(self.requests), list(new))
        return ScriptedClient.bulk(self, body=body, **arguments) if answer else self._answer(new, conflicts)

    def _answer(self, new: dict[str, Any], conflicts: dict[str, int]) -> Any:
        self.requests.append(list(new))
        items = [{"create": {"_index": "docs", "status": conflicts.get(name, 201)}} for name in new]
        return {"errors": bool(conflicts), "items": items}

    def mget(self, *, body: Any, **_: Any) -> Any:
        return {"docs": [{"_source": self.stored[target["_id"]]} for target in body["docs"]]}


@pytest.mark.parametrize("policy", [DuplicatePolicy.NONE, DuplicatePolicy.FAIL, DuplicatePolicy.SKIP])
@pytest.mark.parametrize(
    "fault",
    [TransportError(504, "gateway timeout", {}), TransportError(502, "no node", ""), {"0": 503, "1": 503}],
    ids=["504", "502", "an item's 503"],
)
def test_what_a_failed_request_has_written_is_no_duplicate(fault: Any, policy: DuplicatePolicy) -> None:
    client = StoringClient(lambda call, ids: fault if call == 0 else {})
    sender = BulkWriter(client, url="http://server", index="docs", policy=policy)  # type: ignore[arg-type]
    outcome = sender.send(actions(2, policy))
    assert len(client.requests) == 2
    assert (outcome.written, outcome.skipped) == (2, 0)


def test_a_ready_client_does_not_repeat_unseen_what_the_writer_repeats() -> None:
    """A repeat that nobody knows of would make duplicates of the documents that the first one wrote."""
    client = OpenSearch("http://127.0.0.1:9", max_retries=3)
    sent: list[str] = []

    def refuse(method: str, *arguments: Any, **_: Any) -> Any:
        sent.append(method)
        raise TransportError(503, "busy", {})

    client.transport.connection_pool.get_connection().perform_request = refuse
    with pytest.raises(ServerUnavailableError):
        BulkWriter(client, url="http://server", index="docs", retry_for_s=0).send(actions(1))
    assert sent == ["POST"]
    assert client.transport.max_retries == 3


def test_skip_counts_what_is_there_and_fail_names_it() -> None:
    conflict = {"1": 409, "3": 409}
    skipping, _ = writer(lambda call, ids: conflict, policy=DuplicatePolicy.SKIP)
    outcome = skipping.send(actions(4, DuplicatePolicy.SKIP))
    assert (outcome.written, outcome.skipped) == (2, 2)
    for policy in (DuplicatePolicy.FAIL, DuplicatePolicy.NONE):
        failing, _ = writer(lambda call, ids: conflict, policy=policy)
        outcome = failing.send(actions(4, policy))
        assert (outcome.written, outcome.skipped, outcome.duplicates) == (2, 0, ["1", "3"])


def test_giving_up_raises_the_last_problem_within_the_time() -> None:
    sender, client = writer(lambda call, ids: TransportError(503, "gone", "no node"), retry_for_s=0.05)
    started = time.monotonic()
    with pytest.raises(ServerUnavailableError, match=r"http://server.*503: no node"):
        sender.send(actions(2))
    assert time.monotonic() - started < 2
    assert len(client.requests) > 1


def test_a_busy_server_that_stays_busy_is_an_error_and_not_a_loss() -> None:
    sender, _ = writer(lambda call, ids: {"0": 429}, retry_for_s=0.05)
    with pytest.raises(ServerUnavailableError, match="too busy: queue is full"):
        sender.send(actions(2))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AuthenticationException(401, "Unauthorized", ""), ServerUnavailableError),
        (NotFoundError(404, "index_not_found_exception", {}), IndexingError),
    ],
)
def test_what_time_cannot_heal_is_raised_at_once(error: Exception, expected: type[Exception]) -> None:
    sender, client = writer(lambda call, ids: error)
    with pytest.raises(expected) as caught:
        sender.send(actions(2))
    assert caught.value.__cause__ is error
    assert len(client.requests) == 1


def test_stopping_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 60.0)
    stop = threading.Event()
    sender, _ = writer(lambda call, ids: TransportError(503, "gone", ""), stop=stop)
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(ServerUnavailableError):
        sender.send(actions(1))
    assert time.monotonic() - started < 5


def test_an_answer_for_other_documents_is_not_believed() -> None:
    class Short(ScriptedClient):
        def bulk(self, **arguments: Any) -> Any:
            return {"errors": False, "items": []}

    sender = BulkWriter(Short(lambda call, ids: {}), url="http://server", index="docs")  # type: ignore[arg-type]
    with pytest.raises(IndexingError, match="2 documents were sent and 0 answered"):
        sender.send(actions(2))


@given(st.lists(st.lists(st.sampled_from([201, 201, 429, 400, 503]), min_size=6, max_size=6), max_size=5))
def test_counts_add_up_whatever_the_server_answers(script: list[list[int]]) -> None:
    def answer(call: int, ids: list[str]) -> dict[str, int]:
        statuses = script[call] if call < len(script) else []
        return {str(number): status for number, status in enumerate(statuses)}

    sender, client = writer(answer)
    outcome = sender.send(actions(6))
    assert outcome.written + len(outcome.rejections) == 6
    rejected = {rejection.id for rejection in outcome.rejections}
    for document in map(str, range(6)):
        sent = [call for call, ids in enumerate(client.requests) if document in ids]
        statuses = [answer(call, []).get(document, 201) for call in sent]
        assert all(status in (429, 503) for status in statuses[:-1])  # sent again only while it was busy
        assert statuses[-1] == (400 if document in rejected else 201)
