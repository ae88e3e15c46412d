"""A fake of the Hugging Face hub on loopback: one repository, the five requests that push and pull make.

It stands for a network that tests do not have; the client that talks to it is huggingface_hub itself.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

REPOSITORY = "someone/tiny"
_PAGE = f"https://huggingface.co/{REPOSITORY}"  # the client reads names out of such addresses, it opens none


class FakeHub(ThreadingHTTPServer):
    """The server, and what its one repository holds."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def commit(self) -> str:
        """Forty digits that depend on what the repository holds."""
        content = repr(sorted(self.files.items())).encode()
        return hashlib.sha1(content).hexdigest()

    @contextmanager
    def running(self) -> Iterator["FakeHub"]:
        thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if path.startswith((f"/api/models/{REPOSITORY}/revision/", f"/api/models/{REPOSITORY}")):
            self._describe(path)
        elif path.startswith(f"/{REPOSITORY}/resolve/{self.server.commit}/"):
            self._send_file(path.rpartition("/")[2])
        else:
            self._refuse("RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self._answer({"url": _PAGE})
        elif self.path.startswith(f"/api/models/{REPOSITORY}/preupload/"):
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self._answer({"files": modes})
        elif self.path.startswith(f"/api/models/{REPOSITORY}/commit/"):
            self._commit([json.loads(line) for line in body.splitlines()])
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        else:
            self._refuse("RepoNotFound")

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _describe(self, path: str) -> None:
        if "/revision/" in path and path.rpartition("/")[2] not in ("main", self.server.commit):
            self._refuse("RevisionNotFound")
            return
        siblings = [{"rfilename": name, "size": len(data)} for name, data in self.server.files.items()]
        self._answer({"id": REPOSITORY, "sha": self.server.commit, "siblings": siblings})

    def _commit(self, operations: list[dict]) -> None:
        for operation in operations:
            if operation["key"] == "file":
                value = operation["value"]
                self.server.files[value["path"]] = base64.b64decode(value["content"])
        commit = self.server.commit
        self._answer({"commitUrl": f"{_PAGE}/commit/{commit}", "commitOid": commit})

    def _send_file(self, name: str) -> None:
        content = self.server.files[name]
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self._answer(content, {"ETag": etag, "X-Repo-Commit": self.server.commit})

    def _refuse(self, code: str) -> None:
        self._answer({"error": code}, {"X-Error-Code": code}, status=404)

    def _answer(self, value: object, headers: dict[str, str] | None = None, *, status: int = 200) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
