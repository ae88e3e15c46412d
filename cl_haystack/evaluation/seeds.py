"""Several trainings that differ in their seed alone: the mean of them is one system.

One training is one draw: another seed shuffles other batches, and the figure moves. The mean over seeds,
query by query, is compared like any other system; its interval is that of the queries, and how far the seeds
lie apart is told beside it.
"""

from collections.abc import Sequence

import numpy as np

from cl_haystack.errors import DataError
from cl_haystack.evaluation.metrics import mean_metrics, metric_name
from cl_haystack.evaluation.retrieval import RetrievalResult


def mean_over_seeds(results: Sequence[RetrievalResult]) -> RetrievalResult:
    """Average the evaluations of trainings that differ in their seed alone.

    :param results: one evaluation a seed, all of the same task; a single one comes back as it is.
    :returns: metrics are means over the seeds, of each query and of all; ``seeds`` holds those of each seed.
        ``run`` is the first seed's, as documents found have no mean. Without latency.
    :raises DataError: the queries or the metrics differ.
    """
    first = results[0]
    if len(results) == 1:
        return first
    for other in results[1:]:
        if other.per_query.keys() != first.per_query.keys() or other.metrics.keys() != first.metrics.keys():
            raise DataError(
                f"{first.label} and {other.label} differ in their queries or metrics; "
                "for a mean over seeds, evaluate both on the same task with the same cut-offs"
            )
    per_query = {
        query: {
            name: float(np.mean([result.per_query[query][name] for result in results])) for name in values
        }
        for query, values in first.per_query.items()
    }
    return first.model_copy(
        update={
            "label": f"{first.label} (mean of {len(results)} seeds)",
            "metrics": mean_metrics(per_query),
            "per_query": per_query,
            "seconds": sum(result.seconds for result in results),
            "latency": None,
            "oddities": tuple(f"{result.label}: {what}" for result in results for what in result.oddities),
            "seeds": tuple(result.metrics for result in results),
        }
    )


def describe_seeds(result: RetrievalResult, metric: str) -> str:
    """Tell how far the seeds lie apart.

    :param result: of :func:`mean_over_seeds`.
    :param metric: by what.
    :returns: a line for people.
    """
    values = ", ".join(f"{metrics[metric]:.3f}" for metrics in result.seeds)
    return f"{result.label}: {metric_name(metric)} {values}; texts shown are what the first found"
