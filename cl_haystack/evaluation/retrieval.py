"""Evaluate retrieval: let a system answer the questions of a task, and measure its answers.

A system is an encoder, which is searched exactly in memory, or any search function, such as the one of a live
index, which is asked one question at a time so that its latency is what a user would wait.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from cl_haystack.data import CorpusDocument, RetrievalTask, write_beside
from cl_haystack.data.beir import odd
from cl_haystack.encoder.exact_search import exact_search
from cl_haystack.encoder.protocol import Search, TextEncoder, Vectors
from cl_haystack.encoder.vectors import check_finite
from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.evaluation.metrics import mean_metrics, per_query, require_pytrec_eval
from cl_haystack.evaluation.runs import Run, ranked
from cl_haystack.progress import OnProgress, Progress, ignore

_WINDOW_DOCUMENTS = 4096  # encoded at a time: enough to batch by length, little enough to hold


class Latency(BaseModel):
    """How long single queries took, in milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    p50_ms: float
    p95_ms: float
    p99_ms: float


class RetrievalResult(BaseModel):
    """What a system returned for the questions of a task, and how good that is."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    label: str
    """Name of the system."""
    task: str
    """Name of the task."""
    metrics: dict[str, float]
    """Means over the queries, such as ``ndcg@10``."""
    per_query: dict[str, dict[str, float]]
    """Metrics by query id."""
    run: dict[str, dict[str, float]]
    """Score by query id and document id, best first."""
    num_queries: int
    num_documents: int
    top_k: int
    """Documents asked for, per query."""
    seconds: float
    """Duration of it all: encoding and search."""
    latency: Latency | None = None
    """Only where queries were asked one at a time."""
    oddities: tuple[str, ...] = ()
    """What makes the figures smaller or odd, beside what the task itself tells."""
    seeds: tuple[dict[str, float], ...] = ()
    """Metrics of each seed, where these are means over several trainings."""

    def to_json(self, path: str | Path) -> None:
        """Write the result to a file, to be read back with :meth:`from_json`.

        :param path: the file; replaced only when all is written.
        """
        with write_beside(Path(path)) as file:
            file.write(self.model_dump_json().encode())

    @classmethod
    def from_json(cls, path: str | Path) -> "RetrievalResult":
        """Read a result that :meth:`to_json` wrote.

        :param path: the file.
        :returns: the result, equal to the one written.
        :raises DataError: the file is missing, or is no result.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
        except ValidationError as error:
            raise DataError("is no evaluation result of this version; evaluate again", path=path) from error


def evaluate_retrieval(
    task: RetrievalTask,
    encoder: TextEncoder,
    *,
    label: str = "dense",
    top_k: int = 100,
    ks: Sequence[int] = (10, 100),
    on_progress: OnProgress = ignore,
) -> RetrievalResult:
    """Evaluate an encoder by exact search in memory; the corpus is streamed.

    :param task: questions, judgements, corpus.
    :param encoder: a bundle's encoder, a checkpoint, anything with its two methods.
    :param label: name of the system in the result.
    :param top_k: documents to find for each query.
    :param ks: cut-offs of the metrics, none above ``top_k``.
    :param on_progress: told queries and documents encoded so far.
    :returns: the answers and the metrics.
    :raises ConfigurationError: a cut-off is above ``top_k``.
    :raises EncodingError: a vector holds NaN or infinity.
    """
    require_pytrec_eval()  # says what is missing before minutes of work, not after
    _check_cut_offs(top_k, ks)
    start = time.perf_counter()
    num_queries, total = len(task.queries), len(task.queries) + task.num_documents
    query_vectors = encoder.encode_queries(
        list(task.queries.values()),
        on_progress=lambda step: on_progress(Progress(step.done, total, "queries")),
    )
    check_finite(query_vectors)

    def windows() -> Iterator[tuple[list[str], Vectors]]:
        done = num_queries
        for window in _windows(task.corpus()):

            def told(step: Progress, before: int = done) -> None:
                on_progress(Progress(before + step.done, total, "documents"))

            vectors = encoder.encode_documents([document.content for document in window], on_progress=told)
            check_finite(vectors)
            done += len(window)
            yield [document.id for document in window], vectors

    run = exact_search(list(task.queries), query_vectors, windows(), top_k=top_k)
    return _result(task, run, label=label, top_k=top_k, ks=ks, seconds=time.perf_counter() - start)


def evaluate_search(
    task: RetrievalTask,
    search: Search,
    *,
    label: str,
    top_k: int = 100,
    ks: Sequence[int] = (10, 100),
    on_progress: OnProgress = ignore,
) -> RetrievalResult:
    """Evaluate a search function, one query at a time, with its latency.

    :param task: questions and judgements.
    :param search: answers a list of queries with document ids and scores.
    :param label: name of the system in the result.
    :param top_k: documents to ask for.
    :param ks: cut-offs of the metrics, none above ``top_k``.
    :param on_progress: told the queries answered so far.
    :returns: the answers, the metrics and the latency of ``search``.
    :raises ConfigurationError: a cut-off is above ``top_k``.
    """
    require_pytrec_eval()
    _check_cut_offs(top_k, ks)
    start = time.perf_counter()
    run: Run = {}
    took_ms: list[float] = []
    for query_id, text in task.queries.items():
        asked = time.perf_counter()
        (hits,) = search([text], top_k)
        took_ms.append(1000 * (time.perf_counter() - asked))
        run[query_id] = dict(hits[:top_k])
        on_progress(Progress(len(run), len(task.queries)))
    latency = _latency(took_ms)
    seconds = time.perf_counter() - start
    return _result(task, run, label=label, top_k=top_k, ks=ks, seconds=seconds, latency=latency)


def evaluate_given_run(
    task: RetrievalTask, run: Run, *, label: str, top_k: int = 100, ks: Sequence[int] = (10, 100)
) -> RetrievalResult:
    """Evaluate what any system returned, such as a run file of another search engine.

    :param task: questions and judgements.
    :param run: score by query id and document id.
    :param label: name of the system in the result.
    :param top_k: how many documents of each query count.
    :param ks: cut-offs of the metrics, none above ``top_k``.
    :returns: the metrics over all queries of the task; one that the run does not answer scores 0, as with
        ``trec_eval -c``, and is counted and named in ``oddities``, and so is one that has no judgements.
    :raises ConfigurationError: a cut-off is above ``top_k``.
    :raises DataError: the run answers no query of the task.
    """
    _check_cut_offs(top_k, ks)
    if not run.keys() & task.queries.keys():
        raise DataError(f"run {label!r} answers no query of {task.name}; check the ids and the split")
    oddities = [
        *odd("queries are not answered by the run and score 0", (q for q in task.queries if q not in run)),
        *odd(
            "queries of the run have no judgements and are ignored", (q for q in run if q not in task.queries)
        ),
    ]
    kept = {
        query: {d: run[query][d] for d in ranked(run[query])[:top_k]}
        for query in task.queries
        if query in run
    }
    result = _result(task, kept, label=label, top_k=top_k, ks=ks, seconds=0.0)
    return result.model_copy(update={"oddities": tuple(map(str, oddities))})


def _latency(took_ms: Sequence[float]) -> Latency:
    p50_ms, p95_ms, p99_ms = (float(value) for value in np.percentile(took_ms, [50, 95, 99]))
    return Latency(p50_ms=p50_ms, p95_ms=p95_ms, p99_ms=p99_ms)


def _result(
    task: RetrievalTask,
    run: Run,
    *,
    label: str,
    top_k: int,
    ks: Sequence[int],
    seconds: float,
    latency: Latency | None = None,
) -> RetrievalResult:
    metrics_by_query = per_query(task.qrels, run, ks)
    return RetrievalResult(
        label=label,
        task=task.name,
        metrics=mean_metrics(metrics_by_query),
        per_query=metrics_by_query,
        run=run,
        num_queries=len(task.queries),
        num_documents=task.num_documents,
        top_k=top_k,
        seconds=seconds,
        latency=latency,
    )


def _windows(documents: Iterator[CorpusDocument]) -> Iterator[list[CorpusDocument]]:
    while window := list(islice(documents, _WINDOW_DOCUMENTS)):
        yield window


def _check_cut_offs(top_k: int, ks: Sequence[int]) -> None:
    if ks and max(ks) > top_k:
        raise ConfigurationError(
            f"a metric at {max(ks)} needs that many documents, but top_k is {top_k}; raise it"
        )
