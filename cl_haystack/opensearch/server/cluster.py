"""One or several nodes that start together, find each other, and end together."""

import http.client
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server.node import Node, NodeSpec
from cl_haystack.opensearch.server.ports import free_port
from cl_haystack.opensearch.server.processes import stop_processes
from cl_haystack.opensearch.server.runtime import Runtime

logger = logging.getLogger(__name__)

BOOT_TIMEOUT_S = 180
POLL_S = 0.1
HEALTH_TIMEOUT_S = 5
STOP_GRACE_S = 20

T = TypeVar("T")


def plan_nodes(
    *,
    home: Path,
    data: Path,
    http_ports: Sequence[str],
    memory: str,
    delete_orphan: bool,
) -> list[NodeSpec]:
    """Lay out the nodes of a server.

    :param home: folder that holds a folder per node.
    :param data: folder that holds a folder of index data per node.
    :param http_ports: of each node: a port, a range, or 0; their number is the number of nodes.
    :param memory: Java heap of each node.
    :param delete_orphan: whether a node removes its home when the owner dies.
    :returns: one plan per node.
    """
    names = [f"node-{number}" for number in range(1, len(http_ports) + 1)]
    discovery = discovery_settings(names)
    return [
        NodeSpec(
            name=name,
            home=home / name,
            data=data / name,
            http_port=http_port,
            memory=memory,
            settings=settings,
            delete_orphan=delete_orphan,
        )
        for name, http_port, settings in zip(names, http_ports, discovery, strict=True)
    ]


def discovery_settings(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each node, the settings by which it finds the others."""
    if len(names) == 1:
        return [{"discovery.type": "single-node", "transport.port": "0"}]
    ports = [free_port() for _ in names]
    shared = {
        "discovery.seed_hosts": [f"127.0.0.1:{port}" for port in ports],
        "cluster.initial_cluster_manager_nodes": list(names),
    }
    return [{**shared, "transport.port": str(port)} for port in ports]


class Cluster:
    """The nodes of one local server.

    :param specs: one per node.
    :param runtime: what they share.
    """

    def __init__(self, specs: Sequence[NodeSpec], runtime: Runtime) -> None:
        self.nodes = [Node(spec, runtime) for spec in specs]

    def start(self) -> None:
        """Start all nodes and wait until they answer as one cluster; on any failure none is left.

        :raises LocalServerError: a node ended, or the cluster is not ready in time.
        """
        try:
            for node in self.nodes:
                node.start()
            self.wait_until_ready()
        except BaseException:  # Ctrl-C too: nothing may be left behind
            self.stop(grace_s=0)
            raise

    def wait_until_ready(self) -> None:
        """Wait until every node listens and the cluster has them all.

        :raises LocalServerError: a node ended, or the time is over.
        """
        for node in self.nodes:
            poll(node.bound_port, self.timeout_message)
        poll(self.complete_health, self.timeout_message)

    def complete_health(self) -> dict[str, Any] | None:
        """Return the health of the cluster once it has all nodes and serves its indices, else None."""
        for node in self.nodes:
            node.bound_port()  # notices a node that has died meanwhile
        health = cluster_health(self.nodes[0].bound_port() or 0)
        complete = (
            health is not None
            and health["number_of_nodes"] == len(self.nodes)
            and health["status"] in ("green", "yellow")
        )
        return health if complete else None

    def timeout_message(self) -> str:
        """Say which node did not become ready, with the end of its log."""
        late = next((node for node in self.nodes if node.port is None), self.nodes[0])
        return (
            f"OpenSearch ({late.name}) was not ready after {BOOT_TIMEOUT_S} s; the end of its log:\n"
            f"{late.log_tail()}"
        )

    def detach(self) -> None:
        """Let the nodes outlive this process."""
        for node in self.nodes:
            node.detach()

    def stop(self, *, grace_s: float = STOP_GRACE_S) -> None:
        """End all nodes together and wait until they are gone.

        :param grace_s: seconds to close in peace before they are killed; 0 kills at once.
        """
        running = [psutil.Process(node.pid) for node in self.nodes if node.is_running]
        stop_processes(running, grace_s=grace_s)
        for node in self.nodes:
            node.stop(grace_s=0)


def poll(probe: Callable[[], T | None], timeout_message: Callable[[], str]) -> T:
    """Ask again and again until there is an answer that is not None."""
    try:
        answer = Retrying(
            retry=retry_if_result(lambda answer: answer is None),
            wait=wait_fixed(POLL_S),
            stop=stop_after_delay(BOOT_TIMEOUT_S),
        )(probe)
    except RetryError as error:
        raise LocalServerError(timeout_message()) from error
    assert answer is not None, "that is what was waited for"
    return answer


def cluster_health(port: int) -> dict[str, Any] | None:
    """Ask a node for the health of its cluster; None where it does not answer.

    The plain client of the standard library on purpose: it never goes through a proxy of the environment.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/_cluster/health")
        response = connection.getresponse()
        body = response.read()
        health: dict[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return health if response.status == http.HTTPStatus.OK else None
