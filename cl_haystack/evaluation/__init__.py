"""Metrics, intervals, thresholds, reports: how good a model is, and how sure that is. No torch."""

from cl_haystack.evaluation.metrics import evaluate_run, per_query
from cl_haystack.evaluation.pair_tasks import (
    PairResult,
    PairTask,
    compare_pairs,
    evaluate_pairs,
    read_pair_task,
)
from cl_haystack.evaluation.retrieval import (
    Latency,
    RetrievalResult,
    evaluate_given_run,
    evaluate_retrieval,
    evaluate_search,
)
from cl_haystack.evaluation.runs import Run, ranked, read_run, write_run
from cl_haystack.evaluation.significance import Comparison, Interval, Verdict, compare, paired_bootstrap
from cl_haystack.evaluation.thresholds import choose_threshold

__all__ = [
    "Comparison",
    "Interval",
    "Latency",
    "PairResult",
    "PairTask",
    "RetrievalResult",
    "Run",
    "Verdict",
    "choose_threshold",
    "compare",
    "compare_pairs",
    "evaluate_given_run",
    "evaluate_pairs",
    "evaluate_retrieval",
    "evaluate_run",
    "evaluate_search",
    "paired_bootstrap",
    "per_query",
    "ranked",
    "read_pair_task",
    "read_run",
    "write_run",
]
