"""Exports of one model beside each other: what speed costs in quality."""

import time

import numpy as np

from cl_haystack.data import RetrievalTask
from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.evaluation.parts import Variant
from cl_haystack.evaluation.retrieval import RetrievalResult
from cl_haystack.evaluation.significance import mean_interval, metric_values

_NUM_WARM_UP = 3
_NUM_TIMED = 50


def measure_variant(
    task: RetrievalTask,
    result: RetrievalResult,
    encoder: TextEncoder,
    *,
    metric: str,
    num_bytes: int | None = None,
) -> Variant:
    """Time an encoder on single queries, as a user would wait for them.

    :param task: whose queries are encoded, the first 50 of them.
    :param result: the encoder's evaluation on the task.
    :param encoder: the export.
    :param metric: the quality to show.
    :param num_bytes: size of the graph.
    :returns: quality with its interval, median time, size.
    :raises MissingExtraError: scipy is not installed.
    """
    texts = list(task.queries.values())[:_NUM_TIMED]
    for text in texts[:_NUM_WARM_UP]:
        encoder.encode_queries([text])
    took_ms = []
    for text in texts:
        start = time.perf_counter()
        encoder.encode_queries([text])
        took_ms.append(1000 * (time.perf_counter() - start))
    return Variant(
        label=result.label,
        quality=mean_interval(metric_values(result.per_query, metric)),
        latency_ms=float(np.median(took_ms)),
        num_bytes=num_bytes,
    )
