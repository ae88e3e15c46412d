"""A re-embedding as a process of its own, for tests that kill it: one line of JSON for its report.

python -m tests.reembedding_job URL ALIAS EMBEDDED_LOG
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_haystack.opensearch import OpenSearchIndex, reembed
from tests.opensearch_fakes import WordEncoder, tiny_bundle

OLD = tiny_bundle(name="old", space="a", fingerprint="1")
NEW = tiny_bundle(name="new", space="c", fingerprint="2")
PAUSE_S = 0.3  # of the slow encoder for each window, so that there is time to be killed in


class SpacedEncoder(WordEncoder):
    """Makes other vectors of the same words in each vector space.

    :param bundle: decides the space.
    :param pause_s: added for each window.
    :param log: each text that is embedded as a document is noted in it.
    """

    def __init__(self, bundle: Any, *, pause_s: float = 0.0, log: Path | None = None) -> None:
        super().__init__(bundle)
        self.pause_s, self.log = pause_s, log

    def _encode(self, texts: Sequence[str], on_progress: Any) -> Any:
        space = self.bundle.space_id[0]
        return super()._encode(
            [" ".join(f"{word}{space}" for word in text.split()) for text in texts], on_progress
        )

    def encode_documents(self, texts: Sequence[str], **options: Any) -> Any:
        time.sleep(self.pause_s)
        if self.log is not None:
            with self.log.open("a") as file:
                file.writelines(f"{text}\n" for text in texts)
        return super().encode_documents(texts, **options)


def main() -> None:
    url, alias, log = sys.argv[1:]
    index = OpenSearchIndex(url, alias, NEW)
    report = reembed(index, SpacedEncoder(NEW, pause_s=PAUSE_S, log=Path(log)))
    index.close()
    sys.stdout.write(json.dumps(report.to_dict()))


if __name__ == "__main__":
    main()
