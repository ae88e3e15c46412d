"""Questions worth looking at, with what each system found for them.

They are chosen by rule from what was measured, never by hand: the largest losses stand beside the largest
gains. Pairs of texts likewise.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cl_haystack.data import CorpusDocument, RetrievalTask
from cl_haystack.evaluation.metrics import metric_name
from cl_haystack.evaluation.pair_metrics import ranks
from cl_haystack.evaluation.pair_tasks import PairResult, PairTask
from cl_haystack.evaluation.parts import Example, HardNegative, PairExample, RankedDocument, ResultList
from cl_haystack.evaluation.retrieval import RetrievalResult
from cl_haystack.evaluation.rows import PRIMARY_METRIC
from cl_haystack.evaluation.significance import Floats

_EXCERPT_CHARS = 220
_TITLE_CHARS = 90
_PAIR_CHARS = 400


def largest_changes(
    result: RetrievalResult, baseline: RetrievalResult, *, metric: str = PRIMARY_METRIC, num_each: int = 5
) -> dict[str, str]:
    """Choose the queries that lost most, then those that gained most.

    :param result: the one system.
    :param baseline: the other, evaluated on the same queries.
    :param metric: by what.
    :param num_each: how many losses, and how many gains, at most.
    :returns: a note such as ``loss: nDCG@10 1.00 → 0.00`` by query id; ties by id.
    """

    def values(query: str) -> tuple[float, float]:
        return baseline.per_query[query][metric], result.per_query[query][metric]

    by_gain = sorted(result.per_query, key=lambda query: (values(query)[1] - values(query)[0], query))
    losses = [query for query in by_gain[:num_each] if values(query)[1] < values(query)[0]]
    gains = [query for query in reversed(by_gain[-num_each:]) if values(query)[1] > values(query)[0]]
    chosen = [("loss", query) for query in losses] + [("gain", query) for query in gains]
    return {query: f"{kind}: {_change(metric, *values(query))}" for kind, query in chosen}


def hardest(result: RetrievalResult, *, metric: str = PRIMARY_METRIC, num: int = 5) -> dict[str, str]:
    """Choose the queries on which a system does worst.

    :param result: its evaluation.
    :param metric: by what.
    :param num: how many, at most.
    :returns: a note such as ``nDCG@10 0.00`` by query id; ties by id.
    """
    by_value = sorted(result.per_query, key=lambda query: (result.per_query[query][metric], query))
    return {query: f"{metric_name(metric)} {result.per_query[query][metric]:.2f}" for query in by_value[:num]}


def hardest_negatives(task: RetrievalTask, result: RetrievalResult, *, num: int = 5) -> list[HardNegative]:
    """Choose the wrong documents that a system puts furthest before every relevant one, one a query.

    :param task: questions, judgements, and the corpus, which is passed over once.
    :param result: the system's evaluation.
    :param num: how many, at most.
    :returns: those before a relevant document that was found, by their lead; then those whose relevant
        documents were not found at all; ties by query id.
    """
    leads: list[tuple[float, str, str, str]] = []
    for query, found in result.run.items():
        relevant = task.relevant(query)
        if not relevant or not found or next(iter(found)) in relevant:
            continue
        first = next(iter(found))
        best = next((document for document in found if document in relevant), None)
        lead = found[first] - found[best] if best else -math.inf
        leads.append((-lead, query, first, best or min(relevant)))
    chosen = sorted(leads)[:num]
    wanted = {document for _, _, first, best in chosen for document in (first, best)}
    documents = {document.id: document for document in task.corpus() if document.id in wanted}
    return [
        HardNegative(
            question=task.queries[query],
            negative=_ranked_document(1, first, documents.get(first), relevant=False),
            relevant=_ranked_document(
                _rank(result.run[query], best), best, documents.get(best), relevant=True
            ),
            margin=-lead if math.isfinite(lead) else None,
        )
        for lead, query, first, best in chosen
    ]


def pair_changes(task: PairTask, results: Sequence[PairResult], *, num_each: int = 5) -> list[PairExample]:
    """Choose the pairs on which the last model ranks worst, those it made worse first.

    A pair's place among all, by score, is compared with its place by judgement; one labelled as the same
    belongs at the top, one that is not at the bottom.

    :param task: the pairs.
    :param results: the models, before first.
    :param num_each: how many losses, and how many gains; twice as many of the worst without a baseline.
    :returns: the pairs with every model's score.
    """
    truth = np.where(np.isfinite(task.labels), task.labels, task.grades)
    errors = [_misplaced(task, np.asarray(result.scores)) for result in results]
    if len(results) == 1:
        chosen = [(row, "ranked wrongly") for row in np.argsort(-errors[0], kind="stable")[: 2 * num_each]]
    else:
        order = np.argsort(errors[0] - errors[-1], kind="stable")
        gained = errors[0] - errors[-1]
        chosen = [(row, "loss") for row in order[:num_each] if gained[row] < 0]
        chosen += [(row, "gain") for row in order[::-1][:num_each] if gained[row] > 0]
    return [
        PairExample(
            anchor=_cut(task.anchors[row], _PAIR_CHARS),
            positive=_cut(task.positives[row], _PAIR_CHARS),
            truth=f"{truth[row]:.2g}",
            scores={result.label: result.scores[row] for result in results},
            note=note,
        )
        for row, note in chosen
    ]


def _misplaced(task: PairTask, scores: Floats) -> Floats:
    """Return how far each pair is from its place, 0 to 1."""
    places = ranks(scores) / len(scores)
    labelled = np.where(task.labels == 1, 1 - places, places)
    return np.where(np.isfinite(task.labels), labelled, np.abs(places - ranks(task.grades) / len(scores)))


def build_examples(
    task: RetrievalTask, results: Sequence[RetrievalResult], notes: Mapping[str, str], *, depth: int = 3
) -> list[Example]:
    """Put the systems' first results for some queries side by side, with the documents' texts.

    :param task: questions, judgements, and the corpus, which is passed over once.
    :param results: the systems, before first.
    :param notes: what to say of each query, by query id; their order is kept.
    :param depth: results to show of each system.
    :returns: one example a query.
    """
    shown = {
        document
        for result in results
        for query in notes
        for document in list(result.run.get(query, {}))[:depth]
    }
    documents = {document.id: document for document in task.corpus() if document.id in shown}
    return [
        Example(
            question=task.queries[query],
            note=note,
            results=[_result_list(task, result, query, documents, depth) for result in results],
        )
        for query, note in notes.items()
    ]


def _result_list(
    task: RetrievalTask,
    result: RetrievalResult,
    query: str,
    documents: Mapping[str, CorpusDocument],
    depth: int,
) -> ResultList:
    found = list(result.run.get(query, {}))
    relevant = task.relevant(query)
    return ResultList(
        label=result.label,
        documents=[
            _ranked_document(rank, document, documents.get(document), relevant=document in relevant)
            for rank, document in enumerate(found[:depth], start=1)
        ],
        first_relevant_rank=next((rank for rank, d in enumerate(found, start=1) if d in relevant), None),
    )


def _ranked_document(
    rank: int | None, document_id: str, document: CorpusDocument | None, *, relevant: bool
) -> RankedDocument:
    title = document.title if document else ""
    text = document.text if document else "(not in the corpus)"
    return RankedDocument(
        rank=rank,
        title=_cut(title, _TITLE_CHARS) or document_id,
        excerpt=_cut(text, _EXCERPT_CHARS),
        relevant=relevant,
    )


def _rank(found: Mapping[str, float], document: str) -> int | None:
    return next((rank for rank, name in enumerate(found, start=1) if name == document), None)


def _change(metric: str, before: float, after: float) -> str:
    return f"{metric_name(metric)} {before:.2f} → {after:.2f}"


def _cut(text: str, max_chars: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"
