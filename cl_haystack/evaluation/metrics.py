"""Retrieval metrics of a run against judgements, computed by trec_eval (through pytrec_eval).

For each cut-off ``k``, with documents ranked by score:

    ndcg@k       sum of grade / log2(rank + 1) over the first k, divided by the best possible sum
    recall@k     share of the relevant documents that are among the first k
    mrr@k        1 / rank of the first relevant document, 0 if it is not among the first k
    map@k        mean, over the relevant documents, of the precision at their rank; 0 beyond k
    precision@k  share of the first k that is relevant
    success@k    1 if any of the first k is relevant, else 0

A grade above 0 is relevant. What trec_eval does is what is published, down to its corners:

* equal scores are ranked by document id, the larger id first; scores are compared in single precision;
* **every query of the judgements counts**, as with ``trec_eval -c``: one that the run lacks scores 0
  (pytrec_eval alone would drop it and flatter the run), and so does one without any relevant document;
* queries of the run without judgements are ignored, documents without a judgement are not relevant.
"""

import math
from collections.abc import Mapping, Sequence
from types import ModuleType

from cl_haystack.data.beir import MAX_GRADE
from cl_haystack.errors import ConfigurationError, DataError, MissingExtraError, quote

Metrics = dict[str, float]

METRICS = ("ndcg", "recall", "mrr", "map", "precision", "success")
_PROSE_NAMES = {"ndcg": "nDCG", "recall": "Recall", "mrr": "MRR", "map": "MAP"}
_TREC_NAMES = {
    "ndcg": "ndcg_cut",
    "recall": "recall",
    "map": "map_cut",
    "precision": "P",
    "success": "success",
}


def require_pytrec_eval() -> ModuleType:
    """Import pytrec_eval, which brings scipy: too much for an install that only serves.

    :returns: the module.
    :raises MissingExtraError: it is not installed.
    """
    try:
        import pytrec_eval
    except ImportError:
        raise MissingExtraError("pytrec_eval", "report") from None
    module: ModuleType = pytrec_eval
    return module


def evaluate_run(
    qrels: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    ks: Sequence[int] = (10,),
) -> Metrics:
    """Average each metric over the queries of the judgements.

    >>> evaluate_run({"q": {"a": 1, "b": 0}}, {"q": {"b": 0.9, "a": 0.8}})["mrr@10"]
    0.5

    :param qrels: grade by query id and document id.
    :param run: score by query id and document id.
    :param ks: cut-offs.
    :returns: ``{"ndcg@10": …, "recall@10": …, …}``, six metrics for each cut-off.
    :raises DataError: there are no judgements, a grade is above a million, or a score is NaN.
    :raises ConfigurationError: there is no cut-off, or one is below 1.
    """
    return mean_metrics(per_query(qrels, run, ks))


def per_query(
    qrels: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    ks: Sequence[int] = (10,),
) -> dict[str, Metrics]:
    """Compute each metric for each query of the judgements.

    :param qrels: grade by query id and document id.
    :param run: score by query id and document id.
    :param ks: cut-offs.
    :returns: metrics by query id, in the order of the judgements.
    :raises DataError: there are no judgements, a grade is above a million, or a score is NaN.
    :raises ConfigurationError: there is no cut-off, or one is below 1.
    """
    _check(qrels, run, ks)
    cuts = ",".join(str(k) for k in sorted(set(ks)))
    measures = {f"{name}.{cuts}" for name in _TREC_NAMES.values()} | {"recip_rank"}
    # Grades below 0 count like 0 in all of these metrics, and pytrec_eval 0.5.11 crashes the process where
    # all grades of a query are below -1: it writes outside its table.
    grades_from_0 = {
        query: {document: max(0, grade) for document, grade in grades.items()}
        for query, grades in qrels.items()
        if grades
    }
    evaluator = require_pytrec_eval().RelevanceEvaluator(grades_from_0, measures)
    found = evaluator.evaluate(
        {
            query: {document: float(score) for document, score in run[query].items()}
            for query in qrels
            if query in run
        }
    )
    return {query: _metrics(found.get(query, {}), ks) for query in qrels}


def mean_metrics(metrics_by_query: Mapping[str, Mapping[str, float]]) -> Metrics:
    """Average metrics over queries.

    :param metrics_by_query: what :func:`per_query` returned; not empty.
    :returns: the mean of each metric.
    """
    rows = list(metrics_by_query.values())
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}


def metric_name(metric: str) -> str:
    """Return a metric's name for people: ``ndcg@10`` is nDCG@10.

    :param metric: a key of the metrics.
    :returns: its name in prose.
    """
    name, at, k = metric.partition("@")
    return _PROSE_NAMES.get(name, name.replace("_", " ").capitalize()) + at + k


def _metrics(values: Mapping[str, float], ks: Sequence[int]) -> Metrics:
    reciprocal_rank = values.get("recip_rank", 0.0)
    rank = round(1 / reciprocal_rank) if reciprocal_rank else math.inf  # trec_eval has no cut-off for it
    metrics: Metrics = {}
    for k in ks:
        for name in METRICS:
            if name == "mrr":
                metrics[f"mrr@{k}"] = reciprocal_rank if rank <= k else 0.0
            else:
                metrics[f"{name}@{k}"] = values.get(f"{_TREC_NAMES[name]}_{k}", 0.0)
    return metrics


def _check(
    qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]], ks: Sequence[int]
) -> None:
    if not qrels:
        raise DataError("there are no judgements to evaluate against; expected at least one judged query")
    if not ks or min(ks) < 1:
        raise ConfigurationError(f"cut-offs are {list(ks)}; expected whole numbers of at least 1")
    for query, grades in qrels.items():
        if max(grades.values(), default=0) > MAX_GRADE:  # trec_eval's table is that long
            raise DataError(f"query {quote(query)} has a grade above {MAX_GRADE:,}; use small whole numbers")
    for query, scores in run.items():
        for document, score in scores.items():
            if math.isnan(score):
                raise DataError(f"the score of document {quote(document)} for query {quote(query)} is NaN")
