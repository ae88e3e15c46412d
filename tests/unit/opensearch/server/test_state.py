"""What counts as a server of ours: files and processes that lie, and processes that only look alike."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cl_haystack.opensearch.server.processes import stop_processes
from cl_haystack.opensearch.server.service import clear_leftovers, describe, stop_server
from cl_haystack.opensearch.server.state import Instance, NodeState, ServerState, runs_in

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(data=tmp_path / "data", folder=tmp_path / "state")


@pytest.fixture
def impostor(instance: Instance) -> Iterator[subprocess.Popen[bytes]]:
    """A process with the command line of a node of the instance."""
    home = instance.folder / "node-1"
    with subprocess.Popen([sys.executable, "-c", SLEEP, f"@{home / 'java.args'}"]) as process:
        yield process
        process.kill()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not ours."""
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as process:
        yield process
        process.kill()


def state_of(instance: Instance, pid: int, started: float) -> ServerState:
    node = NodeState(
        name="node-1", url="http://127.0.0.1:9", pid=pid, started=started, home=instance.folder / "node-1"
    )
    return ServerState(version="3.6.0", java=25, memory="1g", data=instance.data, nodes=(node,))


def remember(instance: Instance, state: ServerState) -> None:
    instance.folder.mkdir(parents=True, exist_ok=True)
    instance.write(state)


def test_a_state_survives_the_file(instance: Instance) -> None:
    state = state_of(instance, 1, 2.0)
    remember(instance, state)
    assert instance.read() == state
    instance.forget()
    assert instance.read() is None


@pytest.mark.parametrize("content", ["", "{", '{"format": 2}', "null"])
def test_a_damaged_state_file_counts_as_none(instance: Instance, content: str) -> None:
    instance.folder.mkdir(parents=True)
    instance.state_file.write_text(content, encoding="utf-8")
    assert instance.read() is None
    assert describe(instance)["running"] is False


def test_a_process_id_that_a_stranger_got_is_not_running_and_not_killed(
    instance: Instance, stranger: subprocess.Popen[bytes]
) -> None:
    started = psutil.Process(stranger.pid).create_time()
    remember(instance, state_of(instance, stranger.pid, started))
    assert instance.running() is None
    assert stop_server(instance) == 0
    assert stranger.poll() is None
    assert instance.read() is None, "a state that is not true is forgotten"


def test_a_process_that_began_at_another_time_is_not_running(
    instance: Instance, impostor: subprocess.Popen[bytes]
) -> None:
    remember(instance, state_of(instance, impostor.pid, time.time() - 3600))
    assert instance.running() is None


def test_a_process_of_ours_is_running(instance: Instance, impostor: subprocess.Popen[bytes]) -> None:
    remember(instance, state_of(instance, impostor.pid, psutil.Process(impostor.pid).create_time()))
    running = instance.running()
    assert running is not None
    assert running.nodes[0].pid == impostor.pid
    found = describe(instance)
    assert found["running"] is True
    assert found["health"] == "unreachable"


def test_a_leftover_without_a_state_file_is_found_and_ended(
    instance: Instance, impostor: subprocess.Popen[bytes], stranger: subprocess.Popen[bytes]
) -> None:
    assert [process.pid for process in instance.processes()] == [impostor.pid]
    instance.folder.mkdir(parents=True, exist_ok=True)
    clear_leftovers(instance)
    assert not psutil.pid_exists(impostor.pid)
    assert stranger.poll() is None


def test_a_process_of_another_instance_is_not_ours(
    instance: Instance, impostor: subprocess.Popen[bytes]
) -> None:
    process = psutil.Process(impostor.pid)
    assert runs_in(process, instance.folder)
    assert not runs_in(process, instance.folder.with_name("state-2"))


def test_each_data_folder_is_an_instance_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    first, second = Instance.at(tmp_path / "a" / "data"), Instance.at(tmp_path / "b" / "data")
    assert first.folder != second.folder
    assert Instance.at(tmp_path / "a" / ".." / "a" / "data") == first
    assert Instance.at().folder not in {first.folder, second.folder}


def test_a_process_that_ignores_the_polite_signal_is_killed() -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stop_processes([psutil.Process(process.pid)], grace_s=0.3)
        assert not psutil.pid_exists(process.pid)
