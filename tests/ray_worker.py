"""What workers of a test's Ray job open: a real index, and a fake encoder that may die in the middle."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_haystack.opensearch import OpenSearchIndex
from tests.opensearch_fakes import WordEncoder, tiny_bundle


class DyingEncoder(WordEncoder):
    """Kills its own process while it embeds, ``deaths`` times in all; notes process, node and each text.

    Begins once workers on ``num_nodes`` nodes can.
    """

    def __init__(self, folder: Path, deaths: int, num_nodes: int) -> None:
        import ray

        super().__init__(tiny_bundle())
        self.folder, self.deaths, self.num_nodes = folder, deaths, num_nodes
        self.node: str = ray.get_runtime_context().get_node_id()
        (folder / f"node-{self.node}").touch()

    def encode_documents(self, texts: Sequence[str], **options: Any) -> Any:
        while len(list(self.folder.glob("node-*"))) < self.num_nodes:
            time.sleep(0.05)
        time.sleep(0.1)
        with (self.folder / "embedded.txt").open("a") as log:
            log.writelines(f"{os.getpid()} {self.node} {text}\n" for text in texts)
        if any(text.endswith("7") for text in texts):
            for death in range(self.deaths):
                try:
                    (self.folder / f"death-{death}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_documents(texts, **options)


def open_worker(
    url: str, name: str, folder: Path, *, deaths: int = 0, num_nodes: int = 1
) -> tuple[OpenSearchIndex, DyingEncoder]:
    return OpenSearchIndex(url, name, tiny_bundle()), DyingEncoder(folder, deaths, num_nodes)
