"""Another model takes over while people write, delete and search, and processes and servers fail."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.errors import IndexingError, SpaceMismatchError
from cl_haystack.opensearch import reembed
from cl_haystack.opensearch.indexing.bulk import BulkWriter, write_action
from cl_haystack.opensearch.indexing.write_target import WriteTarget
from cl_haystack.opensearch.reembedding.aliases import behind_alias, block_writes, move_alias
from tests.fault_proxy import FaultProxy
from tests.opensearch_versions import with_oldest_long
from tests.reembedding_job import NEW, OLD, SpacedEncoder
from tests.reembedding_site import Load, Site, assert_vectors_are_of, documents, without_vectors

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.slow
@with_oldest_long
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
