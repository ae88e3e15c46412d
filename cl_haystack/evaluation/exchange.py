"""Results in the forms that others read: MTEB's and BEIR's JSON, Haystack's evaluation result."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from cl_haystack.data import RetrievalTask, write_beside
from cl_haystack.evaluation.metrics import METRICS, evaluate_run
from cl_haystack.evaluation.retrieval import RetrievalResult

if TYPE_CHECKING:
    from haystack.evaluation import EvaluationRunResult

_MTEB_KS = (1, 3, 5, 10, 20, 100, 1000)
_MTEB_METRICS = {name: name for name in METRICS} | {"success": "hit_rate"}


def mteb_result(task: RetrievalTask, result: RetrievalResult) -> dict[str, Any]:
    """Return a result as MTEB's ``TaskResult`` stores it; metrics are BEIR's, such as ``ndcg_at_10``.

    :param task: the task; its name's last part is the split.
    :param result: what a system returned for it.
    :returns: plain types; ``mteb_version`` is null, since MTEB did not measure.
    """
    name, _, split = task.name.rpartition("/")
    ks = [k for k in _MTEB_KS if k <= result.top_k]
    metrics = evaluate_run(task.qrels, result.run, ks)
    scores: dict[str, Any] = {
        f"{_MTEB_METRICS[metric]}_at_{k}": metrics[f"{metric}@{k}"] for metric in METRICS for k in ks
    }
    scores |= {"main_score": metrics["ndcg@10"], "hf_subset": "default", "languages": []}
    return {
        "dataset_revision": "",
        "task_name": name,
        "mteb_version": None,
        "scores": {split: [scores]},
        "evaluation_time": result.seconds,
        "kg_co2_emissions": None,
    }


def write_mteb(path: str | Path, task: RetrievalTask, result: RetrievalResult) -> None:
    """Write what :func:`mteb_result` returns.

    :param path: the file; replaced only when all is written.
    :param task: the task.
    :param result: what a system returned for it.
    :raises DataError: the file cannot be written.
    """
    with write_beside(Path(path)) as file:
        file.write(orjson.dumps(mteb_result(task, result), option=orjson.OPT_INDENT_2))


def to_haystack(task: RetrievalTask, result: RetrievalResult) -> "EvaluationRunResult":
    """Return a result as Haystack's ``EvaluationRunResult``, with its reports and comparisons.

    :param task: the task.
    :param result: what a system returned for it.
    :returns: the questions as inputs, and each metric with its mean and its value for every question.
    """
    from haystack.evaluation import EvaluationRunResult  # takes about a second

    queries = list(result.per_query)
    return EvaluationRunResult(
        run_name=result.label,
        inputs={"query_id": queries, "question": [task.queries[query] for query in queries]},
        results={
            name: {"score": value, "individual_scores": [result.per_query[query][name] for query in queries]}
            for name, value in result.metrics.items()
        },
    )
