"""A REST endpoint: Hayhooks serves a pipeline's YAML as POST /search/run. Needs `pip install hayhooks`."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

ADDRESS = "http://localhost:18416"
QUESTION = "How do I merge sorted inputs?"


def ask(question: str) -> list[str]:
    request = Request(  # noqa: S310 (our own address)
        f"{ADDRESS}/search/run",
        data=json.dumps({"query": question}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        documents = json.load(answer)["result"]["retriever"]["documents"]
    return [document["id"] for document in documents]


def wait_until_it_answers(seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            urlopen(f"{ADDRESS}/status", timeout=5)  # noqa: S310
        except (URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise SystemExit("hayhooks does not answer")


def main() -> None:
    hayhooks = shutil.which("hayhooks")
    if hayhooks is None:
        print("hayhooks is not installed: pip install hayhooks")
        return
    # Every YAML in the folder becomes an endpoint; it is loaded with no import of ours.
    folder = Path("service")
    folder.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).parent / "pipelines" / "search.yaml", folder)
    settings = {"HAYHOOKS_PIPELINES_DIR": str(folder), "HAYHOOKS_PORT": ADDRESS.rpartition(":")[2]}
    server = subprocess.Popen(  # noqa: S603 (found on PATH)
        [hayhooks, "run"],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_it_answers()
        print(ask(QUESTION))
    finally:
        server.terminate()
        server.wait(timeout=30)


main()
