"""A block against writes is never forgotten: whatever fails, whoever comes next lifts it."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from opensearchpy.exceptions import ConflictError, NotFoundError, RequestError, TransportError

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.reembedding import lease as lease_module
from cl_haystack.opensearch.reembedding.alias_making import make_alias
from cl_haystack.opensearch.reembedding.aliases import find_index
from cl_haystack.opensearch.reembedding.lease import Lease
from cl_haystack.opensearch.reembedding.rolling_back import roll_back

BLOCK = "index.blocks.write"
FULL = TransportError(429, "cluster_block_exception", {"error": {"reason": "flood stage"}})


class FakeServer:
    """One alias, two indices and the lease; ``failing`` raises at chosen requests. Also a connection."""

    url = "http://server"

    def __init__(self) -> None:
        self.settings: dict[str, dict[str, Any]] = {
            name: {"index.uuid": f"uuid-{name}"} for name in ("old", "new")
        }
        self.leads_to = ["old"]
        self.lease: dict[str, Any] | None = None
        self.lease_index = False
        self.version = 0
        self.failing: dict[str, BaseException] = {}
        self.indices = self

    def client(self) -> "FakeServer":
        return self

    def is_blocked(self, name: str) -> bool:
        return self.settings[name].get(BLOCK) is True

    def _fail(self, request: str) -> None:
        if request in self.failing:
            raise self.failing[request]

    def get(self, index: str, **options: Any) -> dict[str, Any]:
        if "id" in options:
            self._fail("read lease")
            if self.lease is None:
                raise NotFoundError(404, "not_found", {})
            return {"_source": dict(self.lease), "_seq_no": self.version, "_primary_term": 1}
        names = self.leads_to if index == "articles" else [index] if index in self.settings else []
        found = {
            name: {
                "settings": dict(self.settings[name]),
                "mappings": {},
                "aliases": {"articles": {}} if name in self.leads_to else {},
            }
            for name in names
        }
        return found or {"status": 404}

    def index(self, *, index: str, id: str, body: dict[str, Any], params: dict[str, Any]) -> None:
        self._fail("write lease")
        if self.lease is not None and params.get("if_seq_no") != self.version:
            raise ConflictError(409, "version_conflict_engine_exception", {})
        self.lease = dict(body)
        self.version += 1

    def create(self, index: str, body: dict[str, Any]) -> None:
        if self.lease_index:
            raise RequestError(400, "resource_already_exists_exception", {})
        self.lease_index = True

    def delete(self, index: str) -> None:
        self.lease, self.lease_index = None, False

    def get_mapping(self, index: str, params: dict[str, str]) -> dict[str, Any]:
        return {index: {"mappings": {"_meta": {"cl_haystack_lease": 1}}}}

    def add_block(self, index: str, block: str) -> dict[str, Any]:
        self._fail("block")
        was_open = not self.is_blocked(index)
        self.settings[index][BLOCK] = True
        return {"shards_acknowledged": True, "indices": [index] if was_open else []}

    def put_settings(self, index: str, body: dict[str, Any]) -> None:
        self._fail("unblock")
        self.settings[index] |= body

    def simulate_index_template(self, name: str) -> dict[str, Any]:
        return {}


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def held(server: FakeServer) -> Lease:
    return Lease(server, "articles", Patience(0.2, threading.Event()))  # type: ignore[arg-type]


def fail_under_the_block(server: FakeServer, meanwhile: Callable[[], None] = lambda: None) -> None:
    with held(server) as lease:
        try:
            lease.block(find_index(server, "old"))  # type: ignore[arg-type]
            meanwhile()
            raise RuntimeError("copying failed")
        except BaseException:
            lease.unblock()
            raise


def die_under_the_block(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what a process leaves that is killed under the block."""
    lease = held(server).__enter__()
    lease.block(find_index(server, "old"))  # type: ignore[arg-type]
    lease._ended.set()
    lease._keeper.join()
    monkeypatch.setattr(lease_module, "_is_gone", lambda holder: True)


def test_a_block_is_lifted_when_something_fails_under_it(server: FakeServer) -> None:
    with pytest.raises(RuntimeError):
        fail_under_the_block(server)
    assert not server.is_blocked("old")
    assert server.lease is None


@pytest.mark.parametrize("request_", ["unblock", "read lease"])
@pytest.mark.parametrize("problem", [FULL, TransportError(503, "away", {}), KeyboardInterrupt()])
def test_a_block_that_cannot_be_lifted_is_lifted_by_the_next_run(
    server: FakeServer, request_: str, problem: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    expected = KeyboardInterrupt if isinstance(problem, KeyboardInterrupt) else RuntimeError
    with pytest.raises(expected):
        fail_under_the_block(server, lambda: server.failing.update({request_: problem}))
    assert server.is_blocked("old")
    assert server.lease is not None
    assert server.lease["blocked"] == "old"
    assert "'old' may still be blocked against writes" in caplog.text
    server.failing.clear()
    if request_ == "read lease":  # nor could it be noted that its holder has ended
        server.lease["ended"] = True
    with held(server):
        assert not server.is_blocked("old")
    assert server.lease is None


def test_a_next_run_that_fails_too_leaves_the_record(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_under_the_block(server, monkeypatch)
    server.failing["unblock"] = FULL
    with pytest.raises(IndexingError, match="flood stage"), held(server):
        pass
    assert server.lease is not None
    assert server.lease["blocked"] == "old"
    server.failing.clear()
    with held(server):
        assert not server.is_blocked("old")


@pytest.mark.parametrize(
    "command",
    [
        lambda server: roll_back(server, "articles"),
        lambda server: make_alias(server, "articles"),
    ],
)
def test_every_command_lifts_what_a_killed_one_left(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, command: Callable[[Any], Any]
) -> None:
    die_under_the_block(server, monkeypatch)
    with suppress(IndexingError):  # the first has nothing to go back to
        command(server)
    assert not server.is_blocked("old")
    assert server.lease is None


def test_a_block_stays_once_the_alias_has_moved(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    die_under_the_block(server, monkeypatch)
    server.leads_to = ["new"]
    with held(server):
        pass
    assert server.is_blocked("old")


def test_a_block_of_somebody_else_is_never_lifted(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.settings["old"][BLOCK] = True
    with pytest.raises(RuntimeError):
        fail_under_the_block(server)
    assert server.is_blocked("old")
    die_under_the_block(server, monkeypatch)
    with held(server):
        pass
    assert server.is_blocked("old")


def test_a_block_of_the_next_holder_is_left_to_it(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One that was suspended wakes when another has taken over, and blocked the index itself."""

    def another_takes_over() -> None:
        server.lease = {**(server.lease or {}), "holder": "another", "host": "elsewhere"}

    with pytest.raises(RuntimeError):
        fail_under_the_block(server, another_takes_over)
    assert server.lease is not None
    assert server.is_blocked("old")
    assert server.lease["holder"] == "another"
    assert "elsewhere" in caplog.text


def test_a_full_disk_is_no_loss_of_the_lease(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEWED_EVERY_S", 0.01)
    with held(server) as lease:
        server.failing["write lease"] = FULL
        lease._ended.wait(0.1)
        lease.check()
        server.failing.clear()
        lease.confirm()
