"""Ports of the loopback interface: find free ones, and name who holds a taken one."""

import os
import socket

import psutil

from cl_haystack.errors import LocalServerError

HOST = "127.0.0.1"
DEFAULT_HTTP_PORT = 9200
SEARCHED_PORTS = 100
LAST_PORT = 65535
ANY_PORT = "0"


def search_ports(nodes: int, *, first: int | None = None) -> list[str]:
    """Return where each node of a server looks for its HTTP port, as the server's settings write it.

    A node takes the first port of its range that it can bind, so two servers that start at the same moment do
    not take the same one; the ranges begin at ports that are free now, so that the nodes get them in order.

    :param nodes: how many nodes.
    :param first: a port that the first node must have; default: from 9200 on.
    :returns: one port or range per node.
    """
    settings = [] if first is None else [str(first)]
    begin = DEFAULT_HTTP_PORT if first is None else first + 1
    ports = range(begin, min(begin + SEARCHED_PORTS, LAST_PORT + 1))
    free = [port for port in ports if is_free(port)]
    others = nodes - len(settings)
    ranges = [f"{port}-{ports[-1]}" for port in free[:others]]
    return settings + ranges + [ANY_PORT] * (others - len(ranges))


def free_port() -> int:
    """Return a port that is free now; the system hands out another one each time."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of the loopback interface now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            # As servers do: connections that have just ended do not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(port: int) -> None:
    """Refuse a port on which the server cannot listen.

    :param port: asked for by the user.
    :raises LocalServerError: it is taken, reserved or no port at all.
    """
    if not 1 <= port <= LAST_PORT:
        raise LocalServerError(f"port {port} does not exist; expected a number from 1 to {LAST_PORT}")
    if not is_free(port):
        raise LocalServerError(
            f"port {port} of {HOST} is in use by {holder(port)}; choose another with --port, leave "
            "--port out to get a free one, or end that process"
        )


def holder(port: int) -> str:
    """Describe the process that listens on a port, as far as this user may know."""
    try:
        listening = [
            connection.pid
            for connection in psutil.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        ]
        if listening and listening[0] is not None:
            return f"process {listening[0]} ({psutil.Process(listening[0]).name()})"
    except (psutil.Error, OSError):
        pass  # macOS shows the connections of others to root only
    return "another process"
