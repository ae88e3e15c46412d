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
    """Kills its own process while it embeds, ``deaths`` times in all; notes each text and its process."""

    def __init__(self, folder: Path, deaths: int) -> None:
        super().__init__(tiny_bundle())
        self.folder, self.deaths = folder, deaths

    def encode_documents(self, texts: Sequence[str], **options: Any) -> Any:
        time.sleep(0.1)
        with (self.folder / "embedded.txt").open("a") as log:
            log.writelines(f"{os.getpid()} {text}\n" for text in texts)
        if any(text.endswith("7") for text in texts):
            for death in range(self.deaths):
                try:
                    (self.folder / f"death-{death}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_documents(texts, **options)


def open_worker(url: str, name: str, folder: Path, deaths: int = 0) -> tuple[OpenSearchIndex, DyingEncoder]:
    return OpenSearchIndex(url, name, tiny_bundle()), DyingEncoder(folder, deaths)
