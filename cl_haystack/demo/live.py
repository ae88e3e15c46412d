"""The four systems that the demo compares on the live server, and their evaluation.

``base`` and ``tuned`` search by vectors alone, ``BM25`` by words, ``tuned hybrid`` by both in one request.
"""

from contextlib import closing
from pathlib import Path
from typing import Literal

from cl_haystack.bundle import ModelBundle
from cl_haystack.data import RetrievalTask, read_corpus
from cl_haystack.encoder import Encoder
from cl_haystack.errors import CLHaystackError
from cl_haystack.evaluation.live import Mode, index_search
from cl_haystack.evaluation.retrieval import RetrievalResult, evaluate_search
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.progress import OnProgress, Progress

Role = Literal["base", "tuned"]

INDICES: dict[Role, str] = {"base": "demo-base", "tuned": "demo-tuned"}
BASE, TUNED, BM25, HYBRID = "base", "tuned", "BM25", "tuned hybrid"
SYSTEMS: dict[str, tuple[Role, Mode]] = {
    BASE: ("base", "dense"),
    TUNED: ("tuned", "dense"),
    BM25: ("tuned", "bm25"),
    HYBRID: ("tuned", "hybrid"),
}
TOP_K = 10


def evaluate_systems(
    task: RetrievalTask,
    bundles: dict[Role, ModelBundle],
    url: str,
    on_progress: OnProgress,
) -> dict[str, RetrievalResult]:
    """Ask every question of every system, one request a question.

    :param task: the held-out questions.
    :param bundles: the two models.
    :param url: address of OpenSearch, where both indices are.
    :param on_progress: told the questions answered so far, over all systems.
    :returns: results by system.
    """
    encoders = {role: Encoder.load(bundle) for role, bundle in bundles.items()}
    results = {}
    for number, (name, (role, mode)) in enumerate(SYSTEMS.items()):
        with closing(OpenSearchIndex(url, INDICES[role], bundles[role])) as index:
            results[name] = evaluate_search(
                task,
                index_search(index, encoders[role], mode),
                label=name,
                top_k=TOP_K,
                ks=(TOP_K,),
                on_progress=_part(on_progress, number, len(SYSTEMS), name),
            )
    return results


def is_complete(index: OpenSearchIndex, corpus: Path) -> bool:
    """Tell whether an index holds every document of a corpus, with the vectors of its model."""
    try:
        if not index.exists():
            return False
        index.check()
        return index.count() == sum(1 for _ in read_corpus(corpus))
    except CLHaystackError:
        return False


def _part(on_progress: OnProgress, number: int, parts: int, name: str) -> OnProgress:
    """Report one of several equal parts of a whole."""

    def told(progress: Progress) -> None:
        total = progress.total or 0
        on_progress(Progress(number * total + progress.done, parts * total, name))

    return told
