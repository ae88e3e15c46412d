"""The settings of a first load, against a client that holds one index: lowered, and put back whatever."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy.exceptions import TransportError

from cl_haystack.errors import DataError, IndexingError
from cl_haystack.opensearch import patience
from cl_haystack.opensearch.indexing.background import BackgroundSender
from cl_haystack.opensearch.indexing.first_load import RECORD_KEY, FirstLoad
from cl_haystack.opensearch.patience import Patience

FLOOD_STAGE = "blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]"
BUSY = TransportError(429, "rejected_execution_exception", {"error": {"reason": "queue is full"}})
FULL = TransportError(429, "cluster_block_exception", {"error": {"reason": FLOOD_STAGE}})


class OneIndexClient:
    """Holds settings and ``_meta`` of one index; ``faults`` maps numbers of settings requests to errors."""

    def __init__(self, faults: dict[int, Exception] | None = None, num_documents: int = 0) -> None:
        self.indices = self
        self.faults = faults or {}
        self.num_documents = num_documents
        self.settings: dict[str, Any] = {"number_of_replicas": "1"}
        self.meta: dict[str, Any] = {}
        self.lowered: list[dict[str, Any]] = []
        self.calls = 0

    def count(self, index: str) -> dict[str, int]:
        return {"count": 0 if index == "alias" else self.num_documents}  # the alias's filter matches nothing

    def get(self, index: str) -> dict[str, Any]:
        return {"docs": {"settings": {"index": self.settings}, "mappings": {"_meta": self.meta}}}

    def put_mapping(self, index: str, body: dict[str, Any]) -> None:
        self.meta = body["_meta"]

    def put_settings(self, index: str, body: dict[str, Any]) -> None:
        self.calls += 1
        if self.calls - 1 in self.faults:
            raise self.faults[self.calls - 1]
        self.settings = {name: value for name, value in {**self.settings, **body["index"]}.items() if value}
        self.lowered.append(self.settings)


class OneIndex:
    """What a first load needs of an index, under a name of choice."""

    def __init__(self, client: OneIndexClient, name: str) -> None:
        self.name, self.url = name, "http://server"
        self.connection = self
        self.client = lambda: client


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.002)


def first_load(client: OneIndexClient, patience: Patience | None = None, name: str = "docs") -> FirstLoad:
    index: Any = OneIndex(client, name)
    return FirstLoad(index, patience or Patience(5, threading.Event()), lower=True, drop_replicas=True)


def test_settings_are_lowered_and_restored() -> None:
    client = OneIndexClient()
    with first_load(client):
        assert client.settings == {"refresh_interval": "-1", "number_of_replicas": "0"}
        assert client.meta[RECORD_KEY] == {"refresh_interval": None, "number_of_replicas": "1"}
    assert (client.settings, client.meta) == ({"number_of_replicas": "1"}, {})


@pytest.mark.parametrize("fault", [BUSY, FULL], ids=["busy", "disk full"])
@pytest.mark.parametrize("failure", [None, DataError("a broken line"), KeyboardInterrupt()])
def test_settings_are_restored_whatever_happens(fault: Exception, failure: BaseException | None) -> None:
    """The sender of a job that fails stops whatever waits for the server; this has to wait nevertheless."""
    client = OneIndexClient({1: fault, 2: fault})
    stop = threading.Event()

    def job() -> Iterator[int]:
        yield 1
        if failure is not None:
            raise failure

    def run() -> None:
        with first_load(client, Patience(5, stop)), BackgroundSender(lambda item: None, stop) as sender:
            for item in job():
                sender.put(item)

    if failure is None:
        run()
    else:
        with pytest.raises(type(failure)):
            run()
        assert stop.is_set()
    assert client.calls == 4
    assert (client.settings, client.meta) == ({"number_of_replicas": "1"}, {})


def test_what_cannot_be_restored_is_left_on_record() -> None:
    client = OneIndexClient(dict.fromkeys(range(1, 10_000), FULL))
    loading = first_load(client, Patience(0.05, threading.Event()))
    with pytest.raises(IndexingError, match="flood-stage"), loading:
        pass
    assert client.meta[RECORD_KEY] == {"refresh_interval": None, "number_of_replicas": "1"}
    client.faults = {}
    with first_load(client):  # of the next job
        pass
    assert (client.settings, client.meta) == ({"number_of_replicas": "1"}, {})


def test_an_index_in_use_is_left_alone_also_behind_the_empty_alias_of_a_new_tenant() -> None:
    for name in ("docs", "alias"):
        client = OneIndexClient(num_documents=1000)
        with first_load(client, name=name):
            pass
        assert client.lowered == []
