"""Start, stop, look at and clean a server that outlives the command that started it."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server.cluster import STOP_GRACE_S, Cluster, cluster_health, plan_nodes
from cl_haystack.opensearch.server.data_folder import DataFolder
from cl_haystack.opensearch.server.lock import DEFAULT_VERSION
from cl_haystack.opensearch.server.memory import heap_size
from cl_haystack.opensearch.server.node import Node
from cl_haystack.opensearch.server.ports import require_free, search_ports
from cl_haystack.opensearch.server.processes import stop_processes
from cl_haystack.opensearch.server.runtime import make_runtime
from cl_haystack.opensearch.server.state import Instance, NodeState, ServerState
from cl_haystack.progress import OnProgress, ignore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks of a server; None is what the data say, else the default.

    :param version: of OpenSearch.
    :param nodes: how many form the cluster.
    :param port: HTTP port of the first node.
    :param memory: Java heap of each node.
    """

    version: str | None = None
    nodes: int | None = None
    port: int | None = None
    memory: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The answer to a start.

    :param state: the server that runs now.
    :param already: whether it ran before.
    """

    state: ServerState
    already: bool


def start_server(
    instance: Instance,
    wanted: Wanted | None = None,
    *,
    java_home: Path | None = None,
    on_progress: OnProgress = ignore,
) -> Started:
    """Start a server that goes on after this process; the one that runs already will do.

    :param instance: which one.
    :param wanted: what it must be like.
    :param java_home: a Java to use.
    :param on_progress: told the megabytes of a first download.
    :returns: what runs now.
    :raises LocalServerError: it cannot be started, or runs already and is not what is wanted.
    """
    wanted = wanted or Wanted()
    if wanted.nodes is not None and wanted.nodes < 1:
        raise LocalServerError(f"{wanted.nodes} nodes cannot form a cluster; expected 1 or more")
    with instance.exclusive():  # of two starts at once, the second finds the server of the first
        running = instance.running()
        if running is not None:
            check_conflicts(running, wanted)
            return Started(running, already=True)
        clear_leftovers(instance)
        return Started(boot(instance, wanted, java_home, on_progress), already=False)


def boot(instance: Instance, wanted: Wanted, java_home: Path | None, on_progress: OnProgress) -> ServerState:
    """Start the nodes, remember them, and let them go."""
    data = DataFolder(instance.data)
    note = data.note()
    version = wanted.version or (note.version if note else DEFAULT_VERSION)
    nodes = wanted.nodes or (note.nodes if note else 1)
    memory = heap_size(wanted.memory, nodes)
    if wanted.port is not None:
        require_free(wanted.port)
    runtime = make_runtime(version, java_home=java_home, on_progress=on_progress)
    specs = plan_nodes(
        home=instance.folder,
        data=instance.data,
        http_ports=search_ports(nodes, first=wanted.port),
        memory=memory,
        delete_orphan=False,
    )
    cluster = Cluster(specs, runtime)
    with data.claimed(version, nodes):
        try:
            cluster.start()
            state = ServerState(
                version=version,
                java=runtime.java.major,
                memory=memory,
                data=instance.data,
                nodes=tuple(node_state(node) for node in cluster.nodes),
            )
            instance.write(state)
            cluster.detach()
        except BaseException:  # Ctrl-C too: nothing may be left behind
            cluster.stop(grace_s=0)
            instance.forget()
            raise
    return state


def node_state(node: Node) -> NodeState:
    """Return what is to be remembered of a node that runs."""
    return NodeState(
        name=node.name,
        url=node.url,
        pid=node.pid,
        started=psutil.Process(node.pid).create_time(),
        home=node.spec.home,
    )


def check_conflicts(running: ServerState, wanted: Wanted) -> None:
    """Refuse to pass off the server that runs as another that was asked for."""
    found = {
        "version": running.version,
        "nodes": len(running.nodes),
        "port": int(running.url.rpartition(":")[2]),
    }
    for option, value in found.items():
        asked = getattr(wanted, option)
        if asked is not None and asked != value:
            raise LocalServerError(
                f"a server with {option} {value} runs already at {running.url}, not {option} {asked}; use "
                "that, stop it first with `cl-haystack opensearch stop`, or start another with its own --data"
            )


def clear_leftovers(instance: Instance) -> None:
    """End processes of ours that no complete server owns any more, and forget a state that is not true."""
    leftovers = instance.processes()
    if leftovers:
        logger.warning("ending left-over processes of ours: %s", [process.pid for process in leftovers])
        stop_processes(leftovers, grace_s=STOP_GRACE_S)
    instance.forget()


def stop_server(instance: Instance) -> int:
    """End a server and wait until it is gone.

    :param instance: which one.
    :returns: how many processes were ended; 0 when it did not run.
    """
    with instance.exclusive():
        processes = instance.processes()
        stop_processes(processes, grace_s=STOP_GRACE_S)
        instance.forget()
        return len(processes)


def server_health(state: ServerState) -> str:
    """Ask a running server how it is: green, yellow, red, or unreachable."""
    for node in state.nodes:
        health = cluster_health(int(node.url.rpartition(":")[2]))
        if health is not None:
            return str(health["status"])
    return "unreachable"


def memory_of(processes: Sequence[psutil.Process]) -> int:
    """Return the memory that processes hold, in bytes."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue  # it has ended meanwhile
    return total


def describe(instance: Instance) -> dict[str, Any]:
    """Say all there is to say about an instance, in plain types.

    :param instance: which one.
    :returns: ``running``, ``url``, ``version``, ``nodes`` and more.
    """
    state = instance.read()
    logs = str(instance.folder / "node-1" / "logs" / "server.log")
    places = {"data": str(instance.data), "logs": logs}
    if state is None:
        return {"running": False, "url": None, "version": None, **places}
    processes = [node.process() for node in state.nodes]
    alive = [process for process in processes if process is not None]
    if not alive:
        return {"running": False, "url": None, "version": state.version, **places}
    return {
        "running": True,
        "url": next(n.url for n, process in zip(state.nodes, processes, strict=True) if process is not None),
        "version": state.version,
        "health": server_health(state),
        "java": state.java,
        "memory": state.memory,
        "resident_bytes": memory_of(alive),
        "nodes": [
            {"name": node.name, "url": node.url, "pid": node.pid, "running": process is not None}
            for node, process in zip(state.nodes, processes, strict=True)
        ],
        **places,
    }


def clean_server(instance: Instance) -> list[Path]:
    """Remove the data, settings and logs of a server that does not run.

    :param instance: which one.
    :returns: the folders that were removed.
    :raises LocalServerError: it runs.
    """
    with instance.exclusive():
        processes = instance.processes()
        if processes:
            raise LocalServerError(
                f"the server of {instance.data} is running (process {processes[0].pid}); stop it first with "
                "`cl-haystack opensearch stop`"
            )
        removed = [instance.data] if DataFolder(instance.data).remove() else []
        nodes = sorted(instance.folder.glob("node-*"))
        for folder in nodes:
            shutil.rmtree(folder, ignore_errors=True)
        instance.forget()
        return removed + nodes
