import os
import socket
from collections.abc import Iterator

import pytest

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server import ports
from cl_haystack.opensearch.server.ports import free_port, is_free, require_free, search_ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this very process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_can_be_bound() -> None:
    port = free_port()
    assert is_free(port)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_a_taken_port_is_refused_with_its_holder(taken: int) -> None:
    assert not is_free(taken)
    with pytest.raises(LocalServerError, match=rf"port {taken} .* in use by process {os.getpid()} .*--port"):
        require_free(taken)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(LocalServerError, match="from 1 to 65535"):
        require_free(port)


def test_a_taken_port_is_skipped(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "DEFAULT_HTTP_PORT", taken)
    (setting,) = search_ports(1)
    begin, end = setting.split("-")
    assert int(begin) > taken
    assert int(end) == min(taken + 99, 65535)


def test_nodes_begin_their_search_at_different_ports() -> None:
    begins = [setting.split("-")[0] for setting in search_ports(3)]
    assert len(set(begins)) == 3


def test_a_port_that_was_asked_for_is_not_a_range() -> None:
    first, second = search_ports(2, first=20000)
    assert first == "20000"
    assert int(second.split("-")[0]) > 20000


def test_at_the_end_of_the_range_any_port_will_do() -> None:
    assert search_ports(2, first=65535) == ["65535", "0"]
