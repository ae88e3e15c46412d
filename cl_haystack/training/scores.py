"""What scores a trained model gives: its similarities of positives, of negatives, of random pairs.

A threshold that fits one model is wrong for the next: InfoNCE pushes scores apart, CoSENT spreads them over
the grades. So the distribution is measured at the end of a run and stays with the model.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_haystack.encoder.protocol import TextEncoder, Vectors
from cl_haystack.training.training_set import TrainingSet

_SAMPLE = 1_000
_LEAST_POSITIVE_SCORE = 0.5  # of graded pairs: from the middle on they mean the same rather than not
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def score_distribution(
    encoder: TextEncoder, training_set: TrainingSet, *, batch_size: int, seed: int
) -> dict[str, Any]:
    """Measure cosine similarities on a sample of at most 1,000 training pairs.

    :param encoder: the trained model.
    :param training_set: where the sample is drawn from.
    :param batch_size: the in-batch negatives are those of batches of this size.
    :param seed: of the sample.
    :returns: for ``positives``, ``negatives`` (pairs with label 0 or a score below 0.5, where there are
        some), ``in_batch_negatives`` (the nearest one of each anchor) and ``random_pairs`` the mean, the
        standard deviation and quantiles by name, such as ``p95``; and the number of pairs.
    """
    order = np.random.default_rng(seed).permutation(len(training_set))[:_SAMPLE]
    rows = training_set.pairs.rows(order.tolist())
    anchors = _unit(encoder.encode_queries([row["anchor"] for row in rows]))  # (pairs, dim)
    positives = _unit(encoder.encode_documents([row["positive"] for row in rows]))  # (pairs, dim)
    same = _same_text(rows)
    similarities = anchors @ positives.T  # (pairs, pairs)
    others = np.where(same, -np.inf, similarities)
    nearest = [
        others[start : start + batch_size, start : start + batch_size].max(axis=1)
        for start in range(0, len(rows), batch_size)
    ]
    is_positive = np.array([_is_positive(row) for row in rows])  # (pairs,)
    own = similarities.diagonal()  # (pairs,)
    found = {
        "positives": own[is_positive],
        **({} if is_positive.all() else {"negatives": own[~is_positive]}),
        "in_batch_negatives": np.concatenate(nearest),
        "random_pairs": similarities[~same],
    }
    return {"num_pairs": len(rows), **{name: _describe(values) for name, values in found.items()}}


def _is_positive(row: dict[str, Any]) -> bool:
    return row["label"] != 0 and (row["score"] is None or row["score"] >= _LEAST_POSITIVE_SCORE)


def _same_text(rows: Sequence[dict[str, Any]]) -> NDArray[np.bool_]:
    """Tell which pairs of rows belong together: their anchors or their positives are the same text."""
    same = np.eye(len(rows), dtype=bool)
    for column in ("anchor", "positive"):
        texts = np.array([row[column] for row in rows], dtype=object)
        same |= texts[:, None] == texts[None, :]
    return same


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _describe(values: NDArray[np.float32]) -> dict[str, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    quantiles = np.quantile(values, _QUANTILES)
    named = {f"p{round(100 * q)}": value for q, value in zip(_QUANTILES, quantiles, strict=True)}
    statistics = {"mean": values.mean(), "std": values.std(), **named}
    return {name: round(float(value), 4) for name, value in statistics.items()}
