"""Metrics, intervals, retrieval evaluation, reports: how good a search is, and how sure that is. No torch."""

from cl_haystack.evaluation.metrics import evaluate_run, per_query
from cl_haystack.evaluation.retrieval import Latency, RetrievalResult, evaluate_retrieval, evaluate_search
from cl_haystack.evaluation.runs import Run, ranked, write_run
from cl_haystack.evaluation.significance import Comparison, Interval, Verdict, compare, paired_bootstrap

__all__ = [
    "Comparison",
    "Interval",
    "Latency",
    "RetrievalResult",
    "Run",
    "Verdict",
    "compare",
    "evaluate_retrieval",
    "evaluate_run",
    "evaluate_search",
    "paired_bootstrap",
    "per_query",
    "ranked",
    "write_run",
]
