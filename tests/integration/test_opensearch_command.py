"""`cl-haystack opensearch …`, as a user types it."""

import io
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from platformdirs import user_cache_path

from cl_haystack.cli.main import main

pytestmark = pytest.mark.integration

COMMAND = [str(Path(sys.executable).with_name("cl-haystack")), "opensearch"]


class Machine:
    """A user's machine with folders of its own: `run` stays in this process, `spawn` starts another."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache_path()))  # the downloads are shared
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
        monkeypatch.setattr("sys.stdin", io.StringIO())
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def spawn(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        self._monkeypatch.setattr("sys.argv", ["cl-haystack", "opensearch", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        assert (ended.value.code or 0) == status, err
        return out if status == 0 else err

    def json(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(*arguments, "--json"))
        return answer


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch, capsys)
    yield machine
    machine.run("stop")


def put(url: str, body: str = "{}") -> None:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"}, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status in (200, 201)


def test_the_life_of_a_server(machine: Machine) -> None:
    assert machine.json("status")["running"] is False

    # Two starts at once: one server, known to both.
    both = [machine.spawn("start", "--memory", "256m", "--json") for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(answer["already_running"] for answer in answers) == [False, True]
    assert answers[0]["url"] == answers[1]["url"]
    assert answers[0]["nodes"] == answers[1]["nodes"]

    url = machine.run("start").strip()  # once more: says so and returns its address
    assert url == answers[0]["url"]
    put(f"{url}/kept/_doc/1")
    status = machine.json("status")
    assert (status["running"], status["url"], status["version"]) == (True, url, "3.6.0")
    assert status["health"] in ("green", "yellow")
    assert "node-1" in machine.run("status")
    assert "started" in machine.run("logs", "-n", "200")
    assert len(machine.json("logs", "-n", "2")["lines"]) == 2

    # What does not fit is one clear line.
    assert "runs already at" in machine.run("start", "--version", "2.19.6", status=1)
    assert "stop it first" in machine.run("clean", "--yes", status=1)
    port = url.rpartition(":")[2]
    error = machine.run("start", "--port", port, "--data", str(Path(status["data"]) / "other"), status=1)
    assert f"in use by process {status['nodes'][0]['pid']}" in error
    assert len(error.strip().splitlines()) == 1

    # A crash leaves a stale state behind, which the next start sees through.
    psutil.Process(status["nodes"][0]["pid"]).kill()
    assert machine.json("status")["running"] is False
    again = machine.json("start")
    assert again["already_running"] is False
    assert again["nodes"][0]["pid"] != status["nodes"][0]["pid"]
    with urllib.request.urlopen(f"{again['url']}/kept/_doc/1", timeout=30) as document:
        assert json.load(document)["found"] is True

    assert machine.json("stop")["stopped"] is True
    assert not psutil.pid_exists(again["nodes"][0]["pid"])
    assert machine.json("stop")["stopped"] is False
    assert Path(status["data"]).is_dir()
    machine.run("clean", status=1)  # nobody said yes
    assert Path(status["data"]).is_dir()
    assert status["data"] in machine.json("clean", "--yes")["removed"]
    assert not Path(status["data"]).exists()


def test_a_start_that_is_killed_leaves_no_server(machine: Machine) -> None:
    with machine.spawn("start", "--memory", "256m") as process:
        me = psutil.Process(process.pid)
        end = time.monotonic() + 30
        while not me.children():
            assert time.monotonic() < end, process.communicate()
            time.sleep(0.05)
        (server,) = me.children()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    _, alive = psutil.wait_procs([server], timeout=30)
    assert not alive
    assert machine.json("status")["running"] is False


def test_wrong_options_are_one_clear_line(machine: Machine) -> None:
    for arguments, expected in (
        (["--version", "1.3.0"], "the versions that can are 3.6.0 and 2.19.6"),
        (["--memory", "9000g"], "more than the"),
        (["--memory", "lots"], "expected a number with m or g"),
        (["--port", "99999"], "from 1 to 65535"),
    ):
        error = machine.run("start", *arguments, status=1)
        assert expected in error
        assert len(error.strip().splitlines()) == 1
    assert machine.json("status")["running"] is False
