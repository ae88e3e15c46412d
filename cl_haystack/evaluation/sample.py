"""A sample of a task's texts as vectors: enough to see how a model spreads them.

Some queries, documents that answer them, documents that were found instead, and a random rest; every model
gets the same texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from cl_haystack.data import CorpusDocument, RetrievalTask
from cl_haystack.encoder.protocol import TextEncoder, Vectors
from cl_haystack.encoder.vectors import check_finite
from cl_haystack.evaluation.parts import ScoreDistribution, TextMap
from cl_haystack.evaluation.retrieval import RetrievalResult
from cl_haystack.progress import OnProgress, Progress, ignore

_NUM_QUERIES = 150
_NUM_DOCUMENTS = 600
_NUM_MAPPED = 60  # queries on the map: more lines than that hide each other


@dataclass(frozen=True)
class TextSample:
    """Texts of a task, and which of them belong together.

    :param queries: text by id.
    :param documents: text by id.
    :param links: row of a query and row of a document that is relevant to it.
    """

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    links: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class SampleVectors:
    """A sample as one model sees it.

    :param system: name of the model.
    :param queries: ``(queries, dim)``.
    :param documents: ``(documents, dim)``.
    """

    system: str
    queries: Vectors
    documents: Vectors


def draw_sample(task: RetrievalTask, results: Sequence[RetrievalResult], *, seed: int = 0) -> TextSample:
    """Draw a sample; the corpus is passed over twice and never held.

    :param task: the task.
    :param results: systems, whose best-ranked wrong documents are taken in.
    :param seed: of the draw.
    :returns: at most 150 queries and 600 documents.
    """
    random = Random(seed)  # noqa: S311
    ids = sorted(task.queries)
    chosen = ids if len(ids) <= _NUM_QUERIES else sorted(random.sample(ids, _NUM_QUERIES))
    wanted: set[str] = set()
    for query in chosen:
        relevant = task.relevant(query)
        wanted.update(sorted(relevant)[:2])
        for result in results:
            wanted.update(
                [document for document in result.run.get(query, {}) if document not in relevant][:1]
            )
    documents = {document.id: document.content for document in _kept(task, wanted, random)}
    places = {document: place for place, document in enumerate(documents)}
    links = [
        (row, places[document])
        for row, query in enumerate(chosen)
        for document in sorted(task.relevant(query) & places.keys())
    ]
    return TextSample({query: task.queries[query] for query in chosen}, documents, links)


def encode_sample(
    sample: TextSample, encoder: TextEncoder, system: str, *, on_progress: OnProgress = ignore
) -> SampleVectors:
    """Encode a sample.

    :param sample: the texts.
    :param encoder: the model.
    :param system: its name.
    :param on_progress: told the texts encoded so far.
    :returns: one vector a text, in the sample's order.
    :raises EncodingError: a vector holds NaN or infinity.
    """
    num_queries, total = len(sample.queries), len(sample.queries) + len(sample.documents)
    queries = encoder.encode_queries(
        list(sample.queries.values()), on_progress=lambda step: on_progress(Progress(step.done, total))
    )
    documents = encoder.encode_documents(
        list(sample.documents.values()),
        on_progress=lambda step: on_progress(Progress(num_queries + step.done, total)),
    )
    check_finite(queries)
    check_finite(documents)
    return SampleVectors(system, queries, documents)


def score_distribution(sample: TextSample, vectors: SampleVectors) -> ScoreDistribution:
    """Compare the similarities of questions to their answers with those to other documents.

    :param sample: the texts.
    :param vectors: their vectors.
    :returns: three groups: relevant documents, the nearest other one of each query, all others.
    """
    scores = vectors.queries @ vectors.documents.T  # (queries, documents)
    relevant = np.zeros(scores.shape, dtype=bool)
    for query, document in sample.links:
        relevant[query, document] = True
    others = np.where(relevant, -np.inf, scores)
    nearest = others.max(axis=1, initial=-np.inf)
    groups = {
        "question and relevant document": scores[relevant],
        "question and nearest other document": nearest[np.isfinite(nearest)],
        "question and any other document": scores[~relevant],
    }
    return ScoreDistribution(
        system=vectors.system,
        groups={name: values.tolist() for name, values in groups.items() if len(values)},
    )


def text_map(sample: TextSample, vectors: SampleVectors) -> TextMap:
    """Put vectors into two dimensions: their first two principal components.

    :param sample: the texts.
    :param vectors: their vectors.
    :returns: some of the queries, all documents, and the lines between what belongs together.
    """
    queries = vectors.queries[:_NUM_MAPPED]
    points = np.concatenate([queries, vectors.documents]).astype(np.float64)  # (texts, dim)
    centred = points - points.mean(axis=0)
    _, strengths, directions = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(points), 2))
    placed = centred @ directions[:2].T  # (texts, 2)
    flat[:, : placed.shape[1]] = placed
    total = float((strengths**2).sum())
    return TextMap(
        system=vectors.system,
        queries=flat[: len(queries)].astype(np.float32),
        documents=flat[len(queries) :].astype(np.float32),
        links=[(query, document) for query, document in sample.links if query < len(queries)],
        explained=float((strengths[:2] ** 2).sum()) / total if total else 0.0,
    )


def _kept(task: RetrievalTask, wanted: set[str], random: Random) -> Iterator[CorpusDocument]:
    """Yield the wanted documents and as many random ones as there is room for."""
    others = [document.id for document in task.corpus() if document.id not in wanted]
    num_wanted = task.num_documents - len(others)  # of those that the corpus has
    room = min(len(others), max(0, _NUM_DOCUMENTS - num_wanted))
    kept = wanted | set(random.sample(others, room))
    return (document for document in task.corpus() if document.id in kept)
