"""One node: a folder with its settings, a command line, and the JVM that runs it."""

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server.memory import megabytes
from cl_haystack.opensearch.server.processes import stop_processes
from cl_haystack.opensearch.server.runtime import Runtime
from cl_haystack.opensearch.server.tail import tail

LAUNCHER_JAR = Path(__file__).with_name("launcher.jar")
MAIN_CLASS = "clhaystack.Launcher"
LOG_TAIL_LINES = 12
SERIAL_COLLECTOR_MB = 1024
# JEP 498: from here on Java prints a warning about memory access by sun.misc.Unsafe, which libraries use.
UNSAFE_WARNING_MAJOR = 24
# Variables with which a user configures other Java programs; a foreign -Xmx or agent must not reach this one.
FOREIGN_JAVA_VARIABLES = ("CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")

# Ten times the default thresholds of the optimizing compiler: a boot takes 5.6 s of CPU instead of 8.2 (two
# cores, Java 25), and what is really hot is still optimized soon.
PATIENT_COMPILER = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)

LOG_SETTINGS = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:clhaystack.logs}/server.log
appender.file.filePattern = ${sys:clhaystack.logs}/server-%i.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5level %logger{1.} %msg%n%throwable
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


@dataclass
class NodeSpec:
    """What makes one node.

    :param name: unique in its cluster.
    :param home: folder of its settings, logs and temporary files; written anew at each start.
    :param data: folder of its index data.
    :param http_port: a port, a range such as ``9200-9299``, or ``0`` for any.
    :param memory: Java heap, such as ``1g`` or ``384m``.
    :param settings: OpenSearch settings beyond these.
    :param delete_orphan: whether the home goes when the owner dies without stopping the node.
    """

    name: str
    home: Path
    data: Path
    http_port: str
    memory: str
    settings: Mapping[str, Any]
    delete_orphan: bool

    @property
    def logs(self) -> Path:
        """Folder of its logs."""
        return self.home / "logs"

    @property
    def server_log(self) -> Path:
        """What OpenSearch logs; rolled over at 10 MB, three old files are kept."""
        return self.logs / "server.log"

    @property
    def console_log(self) -> Path:
        """What the JVM and the launcher print: why a boot failed."""
        return self.logs / "console.log"

    @property
    def port_file(self) -> Path:
        """Where the node writes its HTTP port once it listens."""
        return self.home / "http.port"

    @property
    def arguments_file(self) -> Path:
        """The arguments of its JVM; the path on the command line is how we recognise our process."""
        return self.home / "java.args"


class Node:
    """One JVM of a local server.

    :param spec: what makes the node.
    :param runtime: what it shares with the others.
    """

    def __init__(self, spec: NodeSpec, runtime: Runtime) -> None:
        self.spec = spec
        self.runtime = runtime
        self.port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return self.spec.name

    @property
    def pid(self) -> int:
        """The id of its process."""
        if self._process is None:
            raise LocalServerError(f"{self.name} has not been started; call start() first")
        return self._process.pid

    @property
    def url(self) -> str:
        """Its address."""
        if self.port is None:
            raise LocalServerError(f"{self.name} does not listen yet; wait for the server to be ready")
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Write its folder and start its process, without waiting for an answer."""
        prepare(self.spec, self.runtime)
        environment = {key: value for key, value in os.environ.items() if key not in FOREIGN_JAVA_VARIABLES}
        with self.spec.console_log.open("wb") as console:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [self.runtime.java.executable, f"@{self.spec.arguments_file}"],
                cwd=self.spec.home,
                env=environment,
                stdin=subprocess.PIPE,  # its end tells the node that its owner is gone
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for it
            )

    def bound_port(self) -> int | None:
        """Return its HTTP port once it listens.

        :returns: the port, or None while it boots.
        :raises LocalServerError: its process has ended.
        """
        if not self.is_running:
            raise LocalServerError(self.death_message())
        if self.port is None and self.spec.port_file.is_file():
            self.port = int(self.spec.port_file.read_text(encoding="ascii"))
            self.spec.http_port = str(self.port)  # it keeps its address when it is started again
        return self.port

    def death_message(self) -> str:
        """Say that the process has ended, with the end of its log."""
        code = None if self._process is None else self._process.poll()
        return (
            f"OpenSearch {self.runtime.lock.version} ({self.name}, Java {self.runtime.java.major}, heap "
            f"{self.spec.memory}) ended with status {code} instead of serving; the end of its log:\n"
            f"{self.log_tail()}"
        )

    def log_tail(self) -> str:
        """Return the last lines of what it logged and of what it printed."""
        logged = tail(self.spec.server_log, LOG_TAIL_LINES)
        printed = tail(self.spec.console_log, LOG_TAIL_LINES)
        return "\n".join(f"  {line}" for line in [*logged, *printed]) or "  (empty)"

    def stop(self, *, grace_s: float = 20) -> None:
        """End the process and wait until it is gone.

        :param grace_s: seconds to close in peace before it is killed; 0 kills at once.
        """
        if self._process is None:
            return
        if self._process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                stop_processes([psutil.Process(self._process.pid)], grace_s=grace_s)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self.port = None

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        self.stop(grace_s=0)

    def detach(self) -> None:
        """Let the node outlive this process."""
        assert self._process is not None, "only a started node can be detached"
        assert self._process.stdin is not None, "start opens this pipe"
        self._process.stdin.write(b"detach\n")
        self._process.stdin.close()
        # Popen warns when it is dropped while its process lives, which is the purpose: let it look ended.
        self._process.returncode = 0


def prepare(spec: NodeSpec, runtime: Runtime) -> None:
    """Write the folder of a node: settings, logging, JVM arguments."""
    for folder in (spec.home / "config", spec.logs, spec.home / "tmp", spec.data):
        folder.mkdir(parents=True, exist_ok=True)
    spec.port_file.unlink(missing_ok=True)
    # JSON is YAML, and quotes every path right.
    settings = json.dumps(node_settings(spec), indent=1)
    (spec.home / "config" / "opensearch.yml").write_text(settings, encoding="utf-8")
    (spec.home / "config" / "log4j2.properties").write_text(LOG_SETTINGS, encoding="utf-8")
    arguments = "\n".join(quoted(argument) for argument in java_arguments(spec, runtime))
    spec.arguments_file.write_text(arguments + "\n", encoding="utf-8")


def node_settings(spec: NodeSpec) -> dict[str, Any]:
    """Return the OpenSearch settings of a node."""
    return {
        "cluster.name": "cl-haystack",
        "node.name": spec.name,
        "path.data": str(spec.data),
        "path.logs": str(spec.logs),
        "network.host": "127.0.0.1",
        "http.type": "netty4",
        "http.port": spec.http_port,
        "transport.type": "netty4",
        # A nearly full disk would turn the indices of a developer's machine read-only.
        "cluster.routing.allocation.disk.threshold_enabled": False,
        **spec.settings,
    }


def java_arguments(spec: NodeSpec, runtime: Runtime) -> list[str]:
    """Return all that follows ``java`` on the command line of a node."""
    options = [
        "-Xms64m",
        f"-Xmx{spec.memory}",
        *garbage_collector(spec.memory),
        *PATIENT_COMPILER,
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        f"-XX:ErrorFile={spec.logs / 'jvm-error-%p.log'}",
        f"-Djava.io.tmpdir={spec.home / 'tmp'}",
        "-Djava.awt.headless=true",
        "-Dfile.encoding=UTF-8",
        "-Dio.netty.noUnsafe=true",
        "-Dio.netty.noKeySetOptimization=true",
        f"-Dclhaystack.logs={spec.logs}",
        f"-Dlog4j2.configurationFile={(spec.home / 'config' / 'log4j2.properties').as_uri()}",
        "-Dlog4j.shutdownHookEnabled=false",
        "-Dlog4j2.disable.jmx=true",
        "--enable-native-access=ALL-UNNAMED",
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
    ]
    if runtime.java.major >= UNSAFE_WARNING_MAJOR:
        options.append("--sun-misc-unsafe-memory-access=allow")
    if runtime.java.has_vector_module:
        options.append("--add-modules=jdk.incubator.vector")
    class_path = os.pathsep.join(str(path) for path in [LAUNCHER_JAR, *runtime.class_path])
    plugins = ["<".join([plugin.class_name, *plugin.extends]) for plugin in runtime.lock.plugins]
    orphan = "delete" if spec.delete_orphan else "keep"
    return [
        *options, "-cp", class_path, MAIN_CLASS,
        str(spec.home), str(os.getpid()), orphan, runtime.lock.plugins_as, *plugins,
    ]  # fmt: skip


def garbage_collector(memory: str) -> list[str]:
    """Choose the serial collector for a small heap, where it saves 60 MB; else leave it to Java."""
    return ["-XX:+UseSerialGC"] if megabytes(memory) <= SERIAL_COLLECTOR_MB else []


def quoted(argument: str) -> str:
    """Quote an argument for a file of Java arguments."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
