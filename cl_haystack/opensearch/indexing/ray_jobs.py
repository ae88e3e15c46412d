"""The indexing job on Ray Data: parts of a corpus, embedded and written by workers on many machines.

The driver makes the index, lowers its settings for a first load and restores them whatever happens. Each
worker loads the model once and runs the writing of a job on one part after the other. Ids are the documents'
own and unchanged documents are skipped, so the part of a worker that died is simply given to another one.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.data.corpus import to_haystack_document
from cl_haystack.data.corpus_parts import CorpusPart, read_part, read_part_lines, split_corpus
from cl_haystack.errors import CLHaystackError, ConfigurationError, IndexingError, MissingExtraError
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.indexing.corpus import with_broken_lines
from cl_haystack.opensearch.indexing.jobs import OnRejected, judge, load, open_for_writing
from cl_haystack.opensearch.indexing.report import DeadLetters, IndexingReport, add_reports
from cl_haystack.opensearch.indexing.writing import WritingOptions, write_documents
from cl_haystack.opensearch.patience import DEFAULT_RETRY_FOR_S, Patience
from cl_haystack.progress import OnProgress, Progress, ignore

if TYPE_CHECKING:
    from cl_haystack.encoder import TextEncoder

Opened = tuple[OpenSearchIndex, "TextEncoder"]

DEFAULT_PART_BYTES = 4_000_000  # some thousand documents: what a worker that dies has to look at again


def index_with_ray(
    corpus: str | Path,
    index: OpenSearchIndex,
    *,
    workers: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    threads: int = 1,
    policy: DuplicatePolicy = DuplicatePolicy.OVERWRITE,
    meta_fields_to_embed: Sequence[str] = (),
    embedding_separator: str = "\n",
    dead_letters: str | Path | None = None,
    on_rejected: OnRejected = None,
    refresh: bool = True,
    force_merge: bool = False,
    drop_replicas: bool = False,
    part_bytes: int = DEFAULT_PART_BYTES,
    retry_for_s: float = DEFAULT_RETRY_FOR_S,
    on_progress: OnProgress = ignore,
    open_worker: Callable[[], Opened] | None = None,
) -> IndexingReport:
    """Embed a corpus and write it to an index, by workers on a Ray cluster.

    Uses the cluster that this process is connected to, else that of ``RAY_ADDRESS``, else it starts one on
    this machine, on loopback. Corpus and bundle lie at the same path on every machine, and each has the
    environment variables of the server's user and password. Unlike in a job on one machine, it is not
    checked that an id comes only once; where it comes twice in different parts, either document may win.

    :param corpus: a JSONL or Parquet file, as ``read_corpus`` takes.
    :param index: the index, by address, bound to a bundle given as a path.
    :param workers: most workers; None starts as many as the cluster's processors, or GPUs, suffice for.
    :param device: ``cpu``, or ``cuda`` for a GPU a worker.
    :param threads: processors of a worker. The default suits CPUs: one text after the other on each.
    :param policy: OVERWRITE or SKIP, as in ``index_documents``; the others cannot be repeated by parts.
    :param meta_fields_to_embed: meta fields that are embedded before the content.
    :param embedding_separator: stands between them.
    :param dead_letters: file on this machine to which refused documents are appended with the reason.
    :param on_rejected: what follows when documents were refused, as in ``index_documents``.
    :param refresh: make the documents visible to searches at the end.
    :param force_merge: merge the index into one segment at the end.
    :param drop_replicas: fill an empty index without replicas.
    :param part_bytes: size of the parts that workers get.
    :param retry_for_s: how long a request is repeated while the server is busy or away.
    :param on_progress: told the number of documents done, after each part.
    :param open_worker: opens index and encoder in a worker, for other encoders; it is pickled.
    :returns: what became of the documents: the sum over the workers. Of a part that was begun by a worker
        that died, the documents that it had written count as skipped.
    :raises MissingExtraError: Ray is not installed.
    :raises ConfigurationError: the policy is another one, or the index cannot be opened elsewhere.
    :raises DataError: the corpus cannot be read.
    :raises RejectedDocumentsError: documents were refused; all others were written.
    :raises IndexingError: a worker could not go on.
    """
    if policy not in (DuplicatePolicy.OVERWRITE, DuplicatePolicy.SKIP):
        raise ConfigurationError(f"policy is {policy.name}; on Ray it is OVERWRITE or SKIP")
    options = WritingOptions(policy, meta_fields_to_embed, embedding_separator, retry_for_s=retry_for_s)
    parts = split_corpus(corpus, part_bytes)
    open_worker = open_worker or partial(_open, index.to_dict(), device, threads)
    patience = Patience(retry_for_s, threading.Event())
    started = time.perf_counter()
    letters = DeadLetters(None if dead_letters is None else Path(dead_letters), index.name)
    finish = {"drop_replicas": drop_replicas, "refresh": refresh, "force_merge": force_merge}
    with _ray() as ray, letters:
        open_for_writing(index, index.bundle, patience)
        with load(index, patience, lower=True, **finish):
            pool = _pool(ray, workers, device, threads, len(parts))
            worker = {
                "open_worker": open_worker,
                "options": options,
                "keep_broken_lines": dead_letters is not None,
            }
            results = _run(ray, parts, pool, worker)
            reports = _collect(results, letters, sum(part.num_documents for part in parts), on_progress)
            written = time.perf_counter()
    ended = time.perf_counter()
    seconds = {"refresh": ended - written, "total": ended - started}
    report = add_reports(index.name, reports, seconds, None if dead_letters is None else Path(dead_letters))
    return judge(report, on_rejected)


class _Worker:
    """Runs in a process of its own on some machine; Ray gives it one part after the other."""

    def __init__(
        self, open_worker: Callable[[], Opened], options: WritingOptions, *, keep_broken_lines: bool
    ) -> None:
        self._options = options
        self._keep_broken_lines = keep_broken_lines
        self._problem: CLHaystackError | None = None
        try:
            self._index, self._encoder = open_worker()
        except CLHaystackError as error:  # told with the first part: a constructor that fails is repeated
            self._problem = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Return the outcome of one part as JSON."""
        part = CorpusPart(**orjson.loads(batch["part"][0]))
        try:
            if self._problem is not None:
                raise self._problem
            outcome = self._write(part)
        except CLHaystackError as error:
            outcome = {"error": str(error)}
        return {"outcome": [orjson.dumps(outcome)]}

    def _write(self, part: CorpusPart) -> dict[str, Any]:
        patience = Patience(self._options.retry_for_s, threading.Event())
        documents = (
            with_broken_lines(read_part_lines(part))
            if self._keep_broken_lines
            else map(to_haystack_document, read_part(part))
        )
        with tempfile.TemporaryDirectory() as folder:
            letters = Path(folder) / "dead-letters"
            report = write_documents(
                documents,
                self._index,
                self._encoder,
                self._options,
                patience=patience,
                dead_letters=letters,
            )
            lines = letters.read_text(encoding="ascii") if letters.exists() else ""
        return {"report": report.to_dict(), "dead_letters": lines}


def _open(arguments: dict[str, Any], device: Literal["cpu", "cuda"], threads: int) -> Opened:
    from cl_haystack.encoder import Encoder

    index = OpenSearchIndex.from_dict(arguments)
    truncate_dim = index.settings.truncate_dim
    return index, Encoder.load(arguments["bundle"], device=device, threads=threads, truncate_dim=truncate_dim)


@contextmanager
def _ray() -> Iterator[Any]:
    """Yield the library, connected to a cluster; one that is started here ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about the job leaves the machine
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(error.name or "ray", "ray") from None
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address=address, **quiet)
    else:
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
    try:
        yield ray
    finally:
        ray.shutdown()


def _pool(ray: Any, workers: int | None, device: str, threads: int, num_parts: int) -> dict[str, Any]:
    """Return how many workers there may be, and what each needs."""
    resources = ray.cluster_resources()
    if device == "cuda":
        room, needs = resources.get("GPU", 0), {"num_gpus": 1, "num_cpus": threads}
    else:
        room, needs = resources.get("CPU", 0) // threads, {"num_cpus": threads}
    if room < 1:
        raise ConfigurationError(
            f"the Ray cluster has {resources.get('CPU', 0):.0f} processors and {resources.get('GPU', 0):.0f} "
            f"GPUs, too few for a worker of {threads} threads on {device}; add a node, or ask for less"
        )
    most = max(1, min(int(room) if workers is None else workers, num_parts))
    # At least one, so that the job goes on with what is left when a node goes away.
    return {"compute": ray.data.ActorPoolStrategy(min_size=1, max_size=most), **needs}


def _run(
    ray: Any, parts: Sequence[CorpusPart], pool: dict[str, Any], worker: dict[str, Any]
) -> Generator[dict[str, Any], None, None]:
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"part": orjson.dumps(asdict(part))} for part in parts]
    dataset = ray.data.from_items(rows, override_num_blocks=max(1, len(rows)))
    outcomes = dataset.map_batches(_Worker, batch_size=1, fn_constructor_kwargs=worker, **pool)
    with closing(iter(outcomes.iter_rows())) as found:
        for row in found:
            yield orjson.loads(row["outcome"])


def _collect(
    outcomes: Generator[dict[str, Any], None, None], letters: DeadLetters, total: int, on_progress: OnProgress
) -> list[IndexingReport]:
    reports: list[IndexingReport] = []
    with closing(outcomes):
        for outcome in outcomes:
            if "error" in outcome:
                raise IndexingError(f"a worker could not go on: {outcome['error']}")
            reports.append(IndexingReport.from_dict(outcome["report"]))
            letters.append(outcome["dead_letters"])
            done = sum(report.read for report in reports)
            written = sum(report.written for report in reports)
            on_progress(Progress(done, max(done, total), f"{written:,} written"))
    return reports
