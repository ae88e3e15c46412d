"""Another model for an alias in use: nothing lost, nothing mixed, one move, and a way back."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.document_stores.types import DuplicatePolicy
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException
from typer.testing import CliRunner

from cl_haystack.cli.main import app
from cl_haystack.data import RetrievalTask
from cl_haystack.errors import DataError, IndexingError, ServerUnavailableError, SpaceMismatchError
from cl_haystack.opensearch import (
    Connection,
    Gate,
    OpenSearchIndex,
    WhicheverFits,
    index_documents,
    make_alias,
    reembed,
    roll_back,
)
from cl_haystack.opensearch.indexing.bulk import BulkWriter, write_action
from cl_haystack.opensearch.content_hash import HASH_FIELD
from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.reembedding import lease as lease_module
from cl_haystack.opensearch.reembedding.aliases import behind_alias, block_writes, move_alias
from cl_haystack.opensearch.reembedding.lease import Lease
from cl_haystack.opensearch.indexing.write_target import WriteTarget
from haystack_integrations.components.retrievers.cl_haystack import CLOpenSearchRetriever
from tests.fault_proxy import FaultProxy
from tests.opensearch_fakes import WordEncoder
from tests.reembedding_job import NEW, OLD, SpacedEncoder

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {"number_of_shards": 2, "number_of_replicas": 0, "analyzer": "english"}


class Site:
    """An alias over an index of the old model, and what a test asks of the server behind our back."""

    def __init__(self, url: str) -> None:
        self.url, self.alias = url, f"test-{uuid.uuid4().hex}"
        self.old, self.new = f"{self.alias}-first", f"{self.alias}-{'2' * 8}"
        self.client = OpenSearch(hosts=[url], timeout=60)
        self.connection = Connection(url)
        self._opened: list[OpenSearchIndex] = []

    def open(
        self, bundle: Any, name: str | None = None, *, url: str | None = None, **options: Any
    ) -> OpenSearchIndex:
        index = OpenSearchIndex(url or self.url, name or self.alias, bundle, **options)
        self._opened.append(index)
        return index

    def fill(self, documents: list[Document], *, aliased: bool = True) -> None:
        index = self.open(OLD, self.old if aliased else self.alias, settings=SETTINGS)
        index_documents(documents, index, SpacedEncoder(OLD))
        if aliased:
            self.client.indices.put_alias(index=self.old, name=self.alias)

    def leads_to(self) -> list[str]:
        return sorted(self.client.indices.get_alias(name=self.alias))

    def contents(self, name: str | None = None) -> dict[str, Any]:
        self.client.indices.refresh(index=name or self.alias)
        body = {"query": {"match_all": {}}, "size": 10_000}
        hits = self.client.search(index=name or self.alias, body=body)["hits"]["hits"]
        return {hit["_id"]: {**hit["_source"], "_routing": hit.get("_routing")} for hit in hits}

    def is_blocked(self, name: str) -> bool:
        settings = self.client.indices.get_settings(index=name)[name]["settings"]["index"]
        return settings.get("blocks", {}).get("write") == "true"

    def lease_is_free(self) -> bool:
        return not self.client.indices.exists(index=f"{self.alias}-reembed-lease")

    def remove(self) -> None:
        for index in self._opened:
            index.close()
        for name in self.client.indices.get(index=f"{self.alias}*", params={"expand_wildcards": "all"}):
            self.client.indices.delete(index=name)
        self.connection.close()
        self.client.close()


@pytest.fixture
def site(opensearch_url: str) -> Iterator[Site]:
    made = Site(opensearch_url)
    yield made
    made.remove()


def documents(count: int, start: int = 0) -> list[Document]:
    return [
        Document(id=f"d{number}", content=f"text number {number}", meta={"n": number, "tags": ["a", "b"]})
        for number in range(start, start + count)
    ]


def without_vectors(contents: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: v for key, v in source.items() if key not in ("embedding", HASH_FIELD)}
        for name, source in contents.items()
    }


def assert_vectors_are_of(encoder: WordEncoder, contents: dict[str, Any]) -> None:
    """Every stored vector is what this model makes of the stored text, and of no other model."""
    with_text = [source for source in contents.values() if source.get("content")]
    made = encoder.encode_documents([source["content"] for source in with_text])
    stored = np.array([source["embedding"] for source in with_text])
    assert np.allclose(stored, made, atol=1e-5)


class Load:
    """A writer, a reader and somebody who looks where the alias leads, until the block ends."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.chance = site, random.Random(seed)
        self.expected = {source["id"]: source["content"] for source in site.contents().values()}
        self.fixed = sorted(self.expected)[:50]  # never written again, so they are always found
        self.led_to: list[str] = []
        self.queries = self.writes = self.deletes = 0
        self.problems: list[BaseException] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=[work], daemon=True)
            for work in (self._write, self._read, self._look)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(150)
            assert not thread.is_alive()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            while not self._end.is_set():
                work()
        except BaseException as error:  # noqa: BLE001  (a thread of a test)
            self.problems.append(error)

    def _write(self) -> None:
        if not hasattr(self, "_index"):
            self._index = self._fitting(
                lambda index, encoder, batch: index_documents(batch, index, encoder, refresh=False)
            )
        if self.chance.random() < 0.3:
            self._delete(self.chance.choice(sorted(set(self.expected) - set(self.fixed))))
            return
        number = self.chance.randrange(10_000)
        batch = [
            Document(id=f"d{number + step}", content=f"written {self.writes} {step} now", meta={"n": -step})
            for step in range(self.chance.randrange(1, 5))
            if f"d{number + step}" not in self.fixed
        ]
        report = self._index(batch)
        assert report.written + report.skipped == len(batch)
        self.expected |= {document.id: document.content for document in batch}
        self.writes += 1
        time.sleep(0.01)

    def _delete(self, name: str) -> None:
        while not self._end.is_set():
            try:
                self.site.client.delete(index=self.site.alias, id=name)
            except AuthorizationException:  # blocked
                time.sleep(0.05)
                continue
            del self.expected[name]
            self.deletes += 1
            return

    def _read(self) -> None:
        if not hasattr(self, "_search"):
            self._search = self._fitting(
                lambda index, encoder, text: index.search(encoder.encode_queries([text])[0], top_k=3)
            )
        name = self.chance.choice(self.fixed)
        found = self._search(self.site_text(name))
        assert found[0].id == name
        self.queries += 1

    def _look(self) -> None:
        (name,) = self.site.leads_to()
        if self.led_to[-1:] != [name]:
            self.led_to.append(name)

    def site_text(self, name: str) -> str:
        return self.expected[name]

    def _fitting(self, ask: Callable[..., Any]) -> Any:
        def way(bundle: Any) -> Callable[[Any], Any]:
            index, encoder = self.site.open(bundle), SpacedEncoder(bundle)
            return lambda question: ask(index, encoder, question)

        return WhicheverFits([way(OLD), way(NEW)])


@pytest.mark.slow
def test_under_load_nothing_is_lost_no_query_fails_and_the_alias_moves_once(site: Site) -> None:
    site.fill(documents(1_500))
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201  (to repeat a failure)
    with Load(site, seed) as load:
        report = reembed(site.open(NEW), SpacedEncoder(NEW, pause_s=0.5))
        written_before = load.writes
        until = time.monotonic() + 30
        while load.writes < written_before + 5 and time.monotonic() < until and not load.problems:
            time.sleep(0.05)  # through the alias, to the new index
    assert load.problems == []
    assert load.led_to == [site.old, site.new]
    assert (report.moved, report.read >= 1_000, report.caught_up > 0, report.deleted > 0) == (True,) * 4
    assert min(load.writes - written_before, load.deletes, load.queries) >= 5
    contents = site.contents()
    assert {name: source["content"] for name, source in contents.items()} == load.expected
    assert_vectors_are_of(SpacedEncoder(NEW), contents)
    assert site.is_blocked(site.old)
    assert site.lease_is_free()


def test_a_write_that_comes_after_the_move_never_reaches_the_other_model(site: Site) -> None:
    site.fill(documents(5))
    index = site.open(OLD)
    index.check(fresh=True)  # good for a second
    writer = BulkWriter(site.client, url=site.url, index=site.alias, target=WriteTarget(index))
    action = write_action("late", b'{"id":"late","embedding":[1,1,1,1,1,1,1,1]}', DuplicatePolicy.OVERWRITE)
    site.open(NEW, site.new).create()
    block_writes(site.connection, site.old)
    move_alias(site.connection, site.alias, behind_alias(site.connection, site.alias), site.new)
    with pytest.raises(SpaceMismatchError):
        writer.send([action])
    assert site.contents(site.new) == {}
    assert "late" not in site.contents(site.old)


def test_documents_are_what_they_were_but_for_the_vector(site: Site) -> None:
    site.fill(documents(30))
    client = site.client
    strange = {
        "id": "s",
        "content": "strange",
        "deep": {"a": [{"b": 1.5}, {"b": 2.0}]},
        "meta": {"k": "v"},
        "big": 2**60,
    }
    client.index(index=site.alias, id="strange", routing="r7", body=strange)
    client.index(index=site.alias, id="textless", body={"n": 5, "embedding": [1.0] * 8})
    client.indices.put_settings(index=site.old, body={"refresh_interval": "7s"})
    before = site.contents()
    report = reembed(site.open(NEW), SpacedEncoder(NEW))
    after = site.contents()
    assert without_vectors(after) == without_vectors(before)
    assert after["strange"]["_routing"] == "r7"
    assert after["textless"]["embedding"] is None
    assert_vectors_are_of(SpacedEncoder(NEW), after)
    assert (report.documents, report.embedded, report.without_text) == (32, 31, 1)
    assert report.sampled == 32
    assert report.lowest_cosine is not None
    assert report.lowest_cosine > 0.999
    made = client.indices.get(index=site.new)[site.new]
    settings, properties = made["settings"]["index"], made["mappings"]["properties"]
    assert (settings["number_of_shards"], settings["number_of_replicas"]) == ("2", "0")
    assert settings["refresh_interval"] == "7s"
    assert properties["content"]["analyzer"] == "english"
    assert properties["deep"]["properties"]["a"]["properties"]["b"]["type"] == "float"


@pytest.mark.parametrize("data_type", ["byte", "binary"])
def test_the_form_of_the_vectors_stays(site: Site, data_type: str) -> None:
    scaled = NEW.manifest.model_copy(update={"calibration": {"int8_scale": 200.0}})
    old = replace(OLD, manifest=OLD.manifest.model_copy(update={"calibration": {"int8_scale": 200.0}}))
    new = replace(NEW, manifest=scaled)
    index_documents(
        documents(20), site.open(old, site.old, settings={"data_type": data_type}), SpacedEncoder(old)
    )
    site.client.indices.put_alias(index=site.old, name=site.alias)
    report = reembed(site.open(new), SpacedEncoder(new))
    assert (report.documents, report.sampled, report.lowest_cosine) == (20, 20, pytest.approx(1.0))
    index = site.open(new)
    assert index.open().data_type == data_type  # type: ignore[union-attr]
    assert index.vector_form.data_type == data_type
    stored, before = site.contents(site.new), site.contents(site.old)
    assert stored["d1"]["embedding"] != before["d1"]["embedding"]
    assert all(isinstance(number, int) for number in stored["d1"]["embedding"])


def test_what_is_written_with_the_new_model_later_is_known_as_unchanged(site: Site) -> None:
    site.fill(documents(20))
    reembed(site.open(NEW), SpacedEncoder(NEW))
    encoder = SpacedEncoder(NEW)
    assert index_documents(documents(20), site.open(NEW), encoder).skipped == 20
    with pytest.raises(SpaceMismatchError):
        index_documents(documents(1), site.open(OLD), SpacedEncoder(OLD))


@pytest.mark.slow
def test_a_process_killed_again_and_again_ends_in_the_same_state(site: Site, tmp_path: Path) -> None:
    site.fill(documents(2_000))
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201  (to repeat a failure)
    chance, log = random.Random(seed), tmp_path / "embedded.txt"

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.reembedding_job", site.url, site.alias, str(log)]
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not condition():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.002)

    with Load(site, seed) as load:
        for moment in ("copying", "blocked"):
            process = start()
            if moment == "copying":
                size = log.stat().st_size if log.exists() else 0
                wait_for(process, lambda size=size: log.exists() and log.stat().st_size > size)
                time.sleep(chance.uniform(0, 1))
            else:
                wait_for(process, lambda: site.is_blocked(site.old))
                time.sleep(chance.uniform(0, 0.3))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        process = start()
        out, problems = process.communicate(timeout=120)
        assert process.returncode == 0, problems
    report = json.loads(out.splitlines()[-1])
    assert report["moved"] or report["needless"]  # needless: the last kill came after the alias had moved
    assert load.problems == []
    assert load.led_to == [site.old, site.new]
    contents = site.contents()
    assert {name: source["content"] for name, source in contents.items()} == load.expected
    assert_vectors_are_of(SpacedEncoder(NEW), contents)
    assert len(log.read_text().splitlines()) < 2_000 + 2 * 1_000 + 10 * load.writes  # a kill costs a window
    assert site.is_blocked(site.old)
    assert not site.is_blocked(site.new)
    assert site.lease_is_free()


def test_a_network_that_cuts_delays_and_refuses_changes_nothing(site: Site) -> None:
    site.fill(documents(400))
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201  (to repeat a failure)
    with FaultProxy(site.url, random.Random(seed), share=0.1) as proxy:
        report = reembed(
            site.open(NEW, url=proxy.url, timeout_s=5),
            SpacedEncoder(NEW),
            on_progress=lambda step: setattr(proxy, "armed", True),
        )
        proxy.armed = False
        assert sum(proxy.faults.values()) >= 3
    assert report.moved
    assert site.leads_to() == [site.new]
    assert without_vectors(site.contents(site.new)) == without_vectors(site.contents(site.old))


class BlurredEncoder(SpacedEncoder):
    """A worse model: it sees the length of a text alone."""

    def _encode(self, texts: Any, on_progress: Any) -> Any:
        return super()._encode(["x" * (len(text) % 5 + 1) for text in texts], on_progress)


def task_of(count: int) -> RetrievalTask:
    return RetrievalTask(
        name="tiny/test",
        corpus_path=Path("no/such/corpus"),
        num_documents=count,
        queries={f"q{number}": f"text number {number}" for number in range(count)},
        qrels={f"q{number}": {f"d{number}": 1} for number in range(count)},
    )


def test_the_gate_keeps_the_old_index_from_a_worse_model(site: Site) -> None:
    site.fill(documents(60))
    gate = Gate(task_of(60), SpacedEncoder(OLD))  # type: ignore[arg-type]
    report = reembed(site.open(NEW), BlurredEncoder(NEW), gate=gate)
    assert report.gate is not None
    assert (report.moved, report.removed, report.gate.passed, report.gate.verdict) == (
        False,
        False,
        False,
        "worse",
    )
    assert report.gate.high < -0.3
    assert report.gate.old > 0.95
    assert site.leads_to() == [site.old]
    assert not site.is_blocked(site.old)
    assert len(site.contents(site.new)) == 60
    assert reembed(site.open(NEW), BlurredEncoder(NEW), gate=gate, remove_refused=True).removed
    assert not site.client.indices.exists(index=site.new)
    allowed = Gate(task_of(60), SpacedEncoder(OLD), min_gain=-0.1)  # type: ignore[arg-type]
    report = reembed(site.open(NEW), SpacedEncoder(NEW), gate=allowed)
    assert report.moved
    assert report.gate is not None
    assert abs(report.gate.gain) < 0.1
    assert site.leads_to() == [site.new]


def test_a_gate_that_cannot_judge_is_refused_before_the_work(site: Site) -> None:
    site.fill(documents(10))
    encoder = SpacedEncoder(NEW)
    elsewhere = RetrievalTask(
        "other/test", Path("x"), 1, {"a": "x", "b": "y"}, {"a": {"z": 1}, "b": {"z": 1}}
    )
    with pytest.raises(
        DataError, match="holds none of the 1 documents that the gate's task other/test judges"
    ):
        reembed(site.open(NEW), encoder, gate=Gate(elsewhere, SpacedEncoder(OLD)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="one question"):
        reembed(site.open(NEW), encoder, gate=Gate(task_of(1), SpacedEncoder(OLD)))  # type: ignore[arg-type]
    with pytest.raises(SpaceMismatchError):
        reembed(site.open(NEW), encoder, gate=Gate(task_of(9), SpacedEncoder(NEW)))  # type: ignore[arg-type]
    assert encoder.encoded == []
    assert site.lease_is_free()


def test_rolling_back_says_what_differs(site: Site) -> None:
    site.fill(documents(40))
    reembed(site.open(NEW), SpacedEncoder(NEW))
    changed = [Document(id="d0", content="changed"), *documents(10, start=35)]  # d35 to d39 unchanged
    index_documents(changed, site.open(NEW), SpacedEncoder(NEW))
    site.client.delete(index=site.alias, id="d1")
    report = roll_back(site.connection, site.alias)
    assert (report.added, report.changed, report.deleted) == (5, 1, 1)
    assert report.differing == 7
    assert site.leads_to() == [site.old]
    assert (site.is_blocked(site.old), site.is_blocked(site.new)) == (False, True)
    assert set(site.contents()) == {f"d{number}" for number in range(40)}
    with pytest.raises(IndexingError, match=rf"nothing to go back to; {site.new}, re-embedded from it"):
        roll_back(site.connection, site.alias)


def test_there_is_no_way_back_to_an_index_that_is_gone(site: Site) -> None:
    site.fill(documents(5))
    reembed(site.open(NEW), SpacedEncoder(NEW))
    site.client.indices.delete(index=site.old)
    with pytest.raises(
        IndexingError, match=f"'{site.old}', from which '{site.new}' was re-embedded, was deleted;"
    ):
        roll_back(site.connection, site.alias)
    site.client.indices.create(index=site.old)
    with pytest.raises(IndexingError, match="was deleted and made again"):
        roll_back(site.connection, site.alias)
    assert site.leads_to() == [site.new]
    assert not site.is_blocked(site.new)


def test_an_index_becomes_an_alias_of_its_name(site: Site) -> None:
    site.fill(documents(25), aliased=False)
    before = site.contents()
    with pytest.raises(IndexingError, match=r"is an index, expected an alias.*--make-alias"):
        reembed(site.open(NEW), SpacedEncoder(NEW))
    first = f"{site.alias}-{'1' * 8}"
    assert make_alias(site.connection, site.alias) == first
    assert make_alias(site.connection, site.alias) == first
    assert site.leads_to() == [first]
    assert site.contents() == before
    assert index_documents(documents(1, start=100), site.open(OLD), SpacedEncoder(OLD)).written == 1
    assert reembed(site.open(NEW), SpacedEncoder(NEW)).documents == 26
    assert index_documents(documents(2, start=200), site.open(NEW), SpacedEncoder(NEW)).written == 2
    back = reembed(site.open(OLD), SpacedEncoder(OLD))  # instead of rolling back: takes along what is new
    assert (back.new, back.moved, back.documents, back.embedded) == (first, True, 28, 2)


def test_a_stock_index_without_binding_can_be_re_embedded(site: Site) -> None:
    stock = {
        "settings": {"index.knn": True},
        "mappings": {
            "properties": {
                "embedding": {
                    "type": "knn_vector",
                    "dimension": 3,
                    "method": {"name": "hnsw", "engine": "lucene"},
                },
                "content": {"type": "text"},
            }
        },
    }
    site.client.indices.create(index=site.old, body={**stock, "aliases": {site.alias: {}}})
    for number in range(5):
        body = {"id": f"d{number}", "content": f"text {number}", "embedding": [1.0, 2.0, number]}
        site.client.index(index=site.old, id=f"d{number}", body=body)
    assert reembed(site.open(NEW), SpacedEncoder(NEW)).documents == 5
    assert_vectors_are_of(SpacedEncoder(NEW), site.contents())


def test_what_cannot_be_done_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SpacedEncoder(NEW)
    with pytest.raises(IndexingError, match=f"alias '{site.alias}' does not exist"):
        reembed(site.open(NEW), encoder)
    site.fill(documents(5))
    needless = reembed(site.open(OLD), SpacedEncoder(OLD))
    assert (needless.needless, needless.moved, site.leads_to()) == (True, False, [site.old])
    with pytest.raises(SpaceMismatchError):
        reembed(site.open(NEW), SpacedEncoder(OLD))
    monkeypatch.setattr(lease_module, "EXPIRES_AFTER_S", 8.0)
    with (
        Lease(site.connection, site.alias, Patience(1, threading.Event())),
        pytest.raises(IndexingError, match=r"is being re-embedded on .*process"),
    ):
        reembed(site.open(NEW), encoder)
    site.client.indices.create(index=f"{site.alias}-reembed-lease")
    with pytest.raises(IndexingError, match="that name for a while"):
        reembed(site.open(NEW), encoder)
    site.client.indices.delete(index=f"{site.alias}-reembed-lease")
    template = {
        "index_patterns": [f"{site.alias}-*"],
        "template": {"aliases": {site.alias: {}}},
        "priority": 500,
    }
    site.client.indices.put_index_template(name=site.alias, body=template)
    with pytest.raises(IndexingError, match="index template"):
        reembed(site.open(NEW), encoder)
    site.client.indices.delete_index_template(name=site.alias)
    assert site.leads_to() == [site.old]
    site.client.indices.create(index=site.new)
    with pytest.raises(IndexingError, match=rf"'{site.new}'.*made otherwise; delete it"):
        reembed(site.open(NEW), encoder)
    site.client.indices.put_alias(index=site.new, name=site.alias)
    with pytest.raises(IndexingError, match="leads to 2 indices"):
        reembed(site.open(NEW), encoder)
    assert encoder.encoded == []
    nowhere = OpenSearchIndex("http://127.0.0.1:9", "a", NEW)
    with pytest.raises(ServerUnavailableError):
        reembed(nowhere, encoder)


def test_full_disks_are_noticed_before_the_work(site: Site) -> None:
    class FullDisks(OpenSearch):
        """The real client, but its server says that its disks are full."""

        def __init__(self, url: str) -> None:
            super().__init__(hosts=[url])
            self.cat.allocation = lambda **unused: [{"disk.avail": "100"}]  # type: ignore[method-assign]

    site.fill(documents(5))
    encoder = SpacedEncoder(NEW)
    with pytest.raises(IndexingError, match=r"needs about as much disk space.*0\.0 GB left"):
        reembed(OpenSearchIndex(FullDisks(site.url), site.alias, NEW), encoder)
    assert encoder.encoded == []


def test_a_block_that_would_last_too_long_is_put_off_and_lifted(site: Site) -> None:
    site.fill(documents(5))
    with (
        Load(site, 0) as load,
        pytest.raises(IndexingError, match=r"would have to wait for longer than 0 s"),
    ):
        reembed(site.open(NEW), SpacedEncoder(NEW), max_block_s=0)
    assert not site.is_blocked(site.old)
    assert load.led_to == [site.old]
    assert site.lease_is_free()


@pytest.mark.long
def test_a_server_that_dies_is_waited_for(tmp_path: Path) -> None:
    from cl_haystack.opensearch.server import LocalOpenSearch

    with LocalOpenSearch(data=tmp_path / "data", memory="512m") as server:
        site = Site(server.url)
        site.fill(documents(1_200))
        node = server.nodes[0]
        died = threading.Event()

        def kill_once(step: Any) -> None:
            if step.done >= 500 and not died.is_set():
                died.set()
                node.kill()
                threading.Timer(2, node.start).start()

        report = reembed(site.open(NEW, timeout_s=5), SpacedEncoder(NEW), on_progress=kill_once)
        assert died.is_set()
        assert (report.moved, report.documents) == (True, 1_200)
        assert without_vectors(site.contents(site.new)) == without_vectors(site.contents(site.old))
        assert site.lease_is_free()
        site.remove()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real bundles of two models side by side: two random initialisations of one tiny architecture."""
    from cl_haystack.export import export_bundle
    from tests.tiny_model import make_tiny_checkpoint

    folder = tmp_path_factory.mktemp("bundles")
    for seed, name in enumerate(("present", "next")):
        checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp(name), seed=seed)
        export_bundle(checkpoint, folder / name, name=name)
    return folder


@pytest.fixture
def task_directory(tmp_path: Path) -> Path:
    """Five words in every order; each text is the question that its own document answers."""
    texts = [" ".join(words) for words in itertools.permutations(["cat", "dog", "red", "blue", "house"], 2)]
    lines = [json.dumps({"_id": f"d{number}", "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "qrels").mkdir()
    for name in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / name).write_text("\n".join(lines))
    judged = [f"d{number}\td{number}\t1" for number in range(len(texts))]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return tmp_path


def retrieving(index: OpenSearchIndex) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("retriever", CLOpenSearchRetriever(index))
    return pipeline


@pytest.mark.slow
def test_the_command_with_real_models(site: Site, bundles: Path, task_directory: Path) -> None:
    present, following = (str(bundles / name) for name in ("present", "next"))

    def run(*arguments: str, status: int = 0) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--url", site.url, "--json"])
        assert done.exit_code == status, (done.output, done.exception)
        return json.loads(done.stdout)

    run("index", present, str(task_directory / "corpus.jsonl"), "--index", site.alias)
    made = run("reembed", "--alias", site.alias, "--make-alias")
    assert site.leads_to() == [made["index"]]
    search = WhicheverFits([retrieving(site.open(present)).run, retrieving(site.open(following)).run])
    question: dict[str, Any] = {"retriever": {"query": "cat dog"}}
    before = search(question)["retriever"]["documents"][0]
    options = ["reembed", "--alias", site.alias, "--bundle", following, "--gate", str(task_directory)]
    refused = run(*options, "--min-gain", "0.5", "--remove-refused", status=3)
    assert (refused["moved"], refused["removed"], refused["gate"]["passed"]) == (False, True, False)
    assert refused["gate"]["num_queries"] == 20  # the present bundle was found beside the next one
    moved = run(*options, "--min-gain", "-1")
    assert (moved["moved"], moved["documents"], moved["sampled"]) == (True, 20, 20)
    assert site.leads_to() == [moved["new"]]
    assert run("query", following, "cat dog", "--index", site.alias, "--top-k", "1")
    assert search(question)["retriever"]["documents"][0].id == before.id
    with pytest.raises(SpaceMismatchError):
        retrieving(site.open(present)).run(question)
    assert run(*options)["needless"]
    back = run("reembed", "--alias", site.alias, "--rollback")
    assert (back["old"], back["differing"]) == (made["index"], 0)
    alone = task_directory / "elsewhere" / "next"
    shutil.copytree(following, alone)
    refusal = CliRunner().invoke(app, [*options[:4], str(alone), *options[5:], "--url", site.url])
    assert "name it with --old-bundle" in str(refusal.exception)
    usage = CliRunner().invoke(app, ["reembed", "--alias", site.alias])
    assert (usage.exit_code, "give one of --bundle, --rollback" in usage.output) == (2, True)


@pytest.mark.long
def test_the_oldest_server_does_the_same() -> None:
    from cl_haystack.opensearch.server import LocalOpenSearch

    with LocalOpenSearch(version="2.19.6", memory="256m") as server:
        site = Site(server.url)
        site.fill(documents(200), aliased=False)
        first = make_alias(site.connection, site.alias)
        with Load(site, 1) as load:
            assert reembed(site.open(NEW), SpacedEncoder(NEW, pause_s=0.5)).moved
        assert load.problems == []
        assert load.led_to == [first, site.new]
        assert {name: source["content"] for name, source in site.contents().items()} == load.expected
        report = roll_back(site.connection, site.alias)
        assert site.leads_to() == [first]
        assert report.old == first
        site.remove()
