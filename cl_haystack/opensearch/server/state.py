"""What is remembered of a server that outlives the command that started it.

The state file is a hint and never the proof: a process counts as ours only if it lives, began when the file
says, and carries our argument file in its command line. A process id alone may belong to a stranger by now.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import psutil
from filelock import FileLock
from platformdirs import user_data_path, user_state_path
from pydantic import BaseModel, ConfigDict, ValidationError

# Clocks are corrected; psutil computes the start of a process from the time of the boot.
START_TOLERANCE_S = 5.0


class Record(BaseModel):
    """A strict record of a state file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeState(Record):
    """One node that was started.

    :param name: its name in the cluster.
    :param url: its address.
    :param pid: id of its process.
    :param started: when that process began, in seconds since 1970.
    :param home: folder of its settings and logs.
    """

    name: str
    url: str
    pid: int
    started: float
    home: Path

    def process(self) -> psutil.Process | None:
        """Return its process if that still lives and is ours, else None."""
        try:
            process = psutil.Process(self.pid)
            same_start = abs(process.create_time() - self.started) < START_TOLERANCE_S
        except psutil.Error:
            return None
        return process if same_start and runs_in(process, self.home) else None


class ServerState(Record):
    """A server that was started.

    :param format: version of this file format.
    :param version: version of OpenSearch.
    :param java: version of the Java that runs it.
    :param memory: Java heap of each node.
    :param data: folder of its index data.
    :param nodes: its nodes.
    """

    format: Literal[1] = 1
    version: str
    java: int
    memory: str
    data: Path
    nodes: tuple[NodeState, ...]

    @property
    def url(self) -> str:
        """Address of its first node."""
        return self.nodes[0].url

    @property
    def is_running(self) -> bool:
        """Whether all its nodes live."""
        return all(node.process() is not None for node in self.nodes)


@dataclass(frozen=True)
class Instance:
    """A server that may or may not run: where its data are, and where its state is kept.

    :param data: folder of its index data; it tells instances apart.
    :param folder: folder of its state, settings and logs.
    """

    data: Path
    folder: Path

    @classmethod
    def at(cls, data: Path | None = None) -> Self:
        """Return the instance of a data folder.

        :param data: the folder; default: that of this user.
        :returns: the instance, whether it has ever run or not.
        """
        states = user_state_path("cl-haystack", appauthor=False) / "opensearch-servers"
        default = user_data_path("cl-haystack", appauthor=False) / "opensearch-data"
        path = default if data is None else data.expanduser().resolve()
        if path == default:
            return cls(data=default, folder=states / "default")
        digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
        return cls(data=path, folder=states / f"{re.sub('[^A-Za-z0-9._-]', '_', path.name)}-{digest[:12]}")

    @property
    def state_file(self) -> Path:
        """Where the state of a running server is kept."""
        return self.folder / "server.json"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one command at a time start, stop or clean this instance; others wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            yield

    def read(self) -> ServerState | None:
        """Return what was written last, or None; a damaged file counts as none."""
        try:
            return ServerState.model_validate_json(self.state_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, state: ServerState) -> None:
        """Remember a running server."""
        draft = self.state_file.with_suffix(".part")
        draft.write_text(json.dumps(state.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        draft.replace(self.state_file)

    def forget(self) -> None:
        """Remember nothing."""
        self.state_file.unlink(missing_ok=True)

    def running(self) -> ServerState | None:
        """Return the server if all of it runs, else None."""
        state = self.read()
        return state if state is not None and state.is_running else None

    def processes(self) -> list[psutil.Process]:
        """Return every process of this instance, also those that no state file knows."""
        return [process for process in psutil.process_iter() if runs_in(process, self.folder)]


def runs_in(process: psutil.Process, folder: Path) -> bool:
    """Tell whether a process is a node of ours whose home is this folder or lies in it.

    Its command line is ``java @HOME/java.args``.
    """
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        command = process.cmdline()
    except psutil.Error:
        return False
    files = [Path(argument[1:]) for argument in command[1:] if argument.startswith("@")]
    return any(file.name == "java.args" and file.is_relative_to(folder) for file in files)
