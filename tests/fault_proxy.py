"""A fake network between a client and a real server, on loopback: forwards HTTP, and spoils a share of it.

``cut``: the request never arrives. ``late cut``: it is carried out, the answer never arrives. ``delay``: the
answer comes late. ``429``, ``503``: refused in the server's name, nothing is carried out.
"""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self
from urllib.parse import urlsplit

KINDS = ("cut", "late cut", "delay", "429", "503")
_REFUSAL = b'{"error": {"type": "rejected_execution_exception", "reason": "queue is full"}, "status": 429}'


class FaultProxy:
    """Spoils requests while ``armed``.

    :param target: address of the real server.
    :param chance: decides what is spoilt.
    :param share: of the requests, 0..1.
    :param kinds: what may happen.
    :param retry_after: header of refusals.
    """

    def __init__(
        self,
        target: str,
        chance: random.Random,
        share: float,
        *,
        kinds: Sequence[str] = KINDS,
        retry_after: str | None = None,
    ) -> None:
        self.armed = False
        self._kinds = kinds
        self.faults: Counter[str] = Counter()
        self._chance, self._share = chance, share
        self._lock = threading.Lock()
        proxy, host = self, urlsplit(target).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version: ClassVar[str] = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                fault = proxy.next_fault()
                if fault == "cut":
                    self.close_connection = True
                    return
                if fault in ("429", "503"):
                    self.answer(int(fault), "application/json", _REFUSAL)
                    return
                upstream = http.client.HTTPConnection(host, timeout=60)
                kind = {"content-type": self.headers.get("content-type", "application/json")}
                upstream.request(self.command, self.path, body, kind)
                response = upstream.getresponse()
                content = response.read()
                upstream.close()
                if fault == "late cut":
                    self.close_connection = True
                    return
                if fault == "delay":
                    time.sleep(0.2)
                self.answer(response.status, response.headers.get("content-type", ""), content)

            do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815

            def answer(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                if status in (429, 503) and retry_after is not None:
                    self.send_header("retry-after", retry_after)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def next_fault(self) -> str | None:
        with self._lock:
            if not self.armed or self._chance.random() >= self._share:
                return None
            fault = self._chance.choice(self._kinds)
            self.faults[fault] += 1
            return fault

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._server.shutdown()
        self._server.server_close()
