"""The four systems that the demo compares on the live server, and their evaluation.

``base`` and ``tuned`` search by vectors alone, ``BM25`` by words, ``tuned hybrid`` by both in one request.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

from haystack import Document

from cl_haystack.bundle import ModelBundle
from cl_haystack.data import RetrievalTask, read_corpus
from cl_haystack.encoder import Encoder
from cl_haystack.errors import CLHaystackError
from cl_haystack.evaluation.retrieval import RetrievalResult, Search, evaluate_search
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.progress import OnProgress, Progress

Role = Literal["base", "tuned"]

INDICES: dict[Role, str] = {"base": "demo-base", "tuned": "demo-tuned"}
BASE, TUNED, BM25, HYBRID = "base-dense", "tuned-dense", "bm25", "tuned-hybrid"
SYSTEMS = {
    BASE: "base",
    TUNED: "tuned",
    BM25: "BM25",
    HYBRID: "tuned hybrid",
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
    base, tuned = (OpenSearchIndex(url, INDICES[role], bundles[role]) for role in ("base", "tuned"))
    with closing(base), closing(tuned):
        encode_base, encode_tuned = (Encoder.load(bundles[role]).encode_queries for role in ("base", "tuned"))
        systems: dict[str, Callable[[str], list[Document]]] = {
            BASE: lambda query: base.search(encode_base([query])[0], top_k=TOP_K),
            TUNED: lambda query: tuned.search(encode_tuned([query])[0], top_k=TOP_K),
            BM25: lambda query: tuned.bm25(query, top_k=TOP_K),
            HYBRID: lambda query: tuned.hybrid_search(query, encode_tuned([query])[0], top_k=TOP_K),
        }
        results = {}
        for number, (name, search) in enumerate(systems.items()):
            results[name] = evaluate_search(
                task,
                _ids_and_scores(search),
                label=SYSTEMS[name],
                top_k=TOP_K,
                ks=(TOP_K,),
                on_progress=_part(on_progress, number, len(systems), SYSTEMS[name]),
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


def _ids_and_scores(search: Callable[[str], list[Document]]) -> Search:
    def run(queries: list[str], _: int) -> list[list[tuple[str, float]]]:
        return [[(found.id, found.score or 0.0) for found in search(query)] for query in queries]

    return run


def _part(on_progress: OnProgress, number: int, parts: int, name: str) -> OnProgress:
    """Report one of several equal parts of a whole."""

    def told(progress: Progress) -> None:
        total = progress.total or 0
        on_progress(Progress(number * total + progress.done, parts * total, name))

    return told
