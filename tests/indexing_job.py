"""An indexing job as a process of its own, for tests that kill it: one line of JSON for its report.

    python -m tests.indexing_job URL INDEX POLICY COUNT|SOURCE_INDEX EMBEDDED_LOG [JOURNAL]

The fake encoder notes each id that it embeds in EMBEDDED_LOG, so that a test sees what was embedded twice.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from haystack import Document
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.cli.console import sigterm_interrupts
from cl_haystack.opensearch import OpenSearchIndex, index_documents, read_documents
from tests.opensearch_fakes import WordEncoder, tiny_bundle

COUNT = 1_000  # documents of a job that is disturbed
PAUSE_S = 0.03  # of the encoder for each window, so that there is time to be killed in


def documents(count: int, *, repeated: bool) -> Iterator[Document]:
    """With ``repeated``, ids come again now and then with another text: the last one has to win."""
    for number in range(count):
        name = number - 130 if repeated and number % 50 == 49 and number > 130 else number
        yield Document(id=f"d{name}", content=f"text number {number}", meta={"n": number})


class NotingEncoder(WordEncoder):
    """Slow, and notes what it embeds."""

    def __init__(self, log: Path) -> None:
        super().__init__(tiny_bundle())
        self.log = log

    def encode_documents(self, texts: Sequence[str], **options: Any) -> Any:
        time.sleep(PAUSE_S)
        with self.log.open("a") as file:
            file.writelines(f"{text}\n" for text in texts)
        return super().encode_documents(texts, **options)


def main() -> None:
    url, name, policy, source, log, *journal = sys.argv[1:]
    index = OpenSearchIndex(url, name, tiny_bundle(), settings={"number_of_replicas": 0})
    with sigterm_interrupts():
        report = index_documents(
            documents(int(source), repeated=policy == "OVERWRITE")
            if source.isdigit()
            else read_documents(index.connection, source),
            index,
            NotingEncoder(Path(log)),
            policy=DuplicatePolicy[policy],
            journal=journal[0] if journal else None,
            window_size=50,
            chunk_bytes=3_000,
            streams=2,
        )
    index.close()
    sys.stdout.write(json.dumps(report.to_dict()))


if __name__ == "__main__":
    main()
