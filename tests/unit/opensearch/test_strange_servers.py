"""What an index says of servers that hang, ask for a password, or are no OpenSearch at all."""

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from cl_haystack.errors import CLHaystackError, ServerUnavailableError
from cl_haystack.opensearch import OpenSearchIndex
from tests.opensearch_fakes import as_checked, tiny_bundle

PASSWORD = "s3cr3t-wört"
VECTOR = [1.0] * 8


@contextmanager
def server(status: int, content_type: str, body: bytes) -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization", ""))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{httpd.server_port}", seen
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def test_a_wrong_password_is_named_and_not_shown() -> None:
    with server(401, "text/plain", b"Unauthorized") as (address, seen):
        index = OpenSearchIndex(f"http://me:{PASSWORD}@{address}", "docs", tiny_bundle())
        index_async = OpenSearchIndex(f"http://me:{PASSWORD}@{address}", "docs", tiny_bundle())
        as_checked(index_async)

        async def search() -> None:
            try:
                await index_async.search_async(VECTOR)
            finally:
                await index_async.close_async()

        for use in (index.open, lambda: asyncio.run(search())):
            with pytest.raises(ServerUnavailableError, match="user name or password") as caught:
                use()
            error: BaseException | None = caught.value
            while error is not None:  # nor in what it was raised from
                assert PASSWORD not in str(error) + repr(error)
                error = error.__cause__
        index.close()
    assert {base64.b64decode(header.removeprefix("Basic ")).decode() for header in seen} == {f"me:{PASSWORD}"}
    assert len(seen) == 2


def test_a_server_that_hangs_is_an_error_within_the_timeout() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        index = OpenSearchIndex(url, "docs", tiny_bundle(), timeout_s=0.3)
        started = time.monotonic()
        with pytest.raises(ServerUnavailableError, match="no answer within the timeout"):
            index.open()
        assert time.monotonic() - started < 5
        index.close()


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "text/html", b"<html>hello</html>"),
        (404, "text/html", b"<html>nothing here</html>"),
        (404, "application/json", b'{"detail": "Not Found"}'),
        (200, "application/json", b'{"hello": "world"}'),
        (500, "text/plain", b"oops"),
    ],
)
def test_what_is_no_opensearch_gives_one_clear_error(status: int, content_type: str, body: bytes) -> None:
    with server(status, content_type, body) as (address, _):
        index = OpenSearchIndex(f"http://{address}", "docs", tiny_bundle())
        for use in (index.open, index.ensure, lambda: index.search(VECTOR)):
            with pytest.raises(CLHaystackError, match=address):
                use()
        index.close()
