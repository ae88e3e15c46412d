"""Metrics of scored pairs: whether graded pairs come in the right order, and duplicates before the rest.

All are functions of arrays with one value a pair. Equal scores are one step: no order among them is invented.
"""

from dataclasses import dataclass

import numpy as np

from cl_haystack.evaluation.significance import Floats, require_scipy


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Precision and recall when all pairs from a score on are taken for duplicates, for every such score.

    :param scores: the distinct scores, highest first.
    :param precision: share of duplicates among the pairs taken.
    :param recall: share of the duplicates that are taken.
    :param taken: how many pairs are taken.
    """

    scores: Floats
    precision: Floats
    recall: Floats
    taken: Floats


def ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of their ranks.

    :param values: ``(pairs,)``.
    :returns: ``(pairs,)``.
    :raises MissingExtraError: scipy is not installed.
    """
    require_scipy()
    from scipy import stats

    return np.asarray(stats.rankdata(values), dtype=np.float64)


def spearman(scores: Floats, grades: Floats) -> float:
    """Correlate ranks: 1 where the scores order the pairs as the grades do, -1 where they reverse them.

    :param scores: of the model.
    :param grades: of people.
    :returns: Spearman's rho; 0 where all scores or all grades are equal, for then there is no order.
    """
    return correlation(ranks(scores), ranks(grades))


def correlation(one: Floats, other: Floats) -> float:
    """Return Pearson's correlation; 0 where one of both is constant.

    :param one: ``(pairs,)``.
    :param other: ``(pairs,)``.
    :returns: -1 to 1.
    """
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / norm if norm > 0 else 0.0


def precision_recall(scores: Floats, labels: Floats) -> PrecisionRecall:
    """Compute precision and recall at every distinct score.

    :param scores: of the model.
    :param labels: 1 for duplicates, 0 for others.
    :returns: the curve, from the strictest score to the laxest; recall is 0 where there is no duplicate.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last_of_step = np.append(ordered[1:] != ordered[:-1], True)
    hits = np.cumsum(labels[order])[last_of_step]
    taken = np.arange(1, len(scores) + 1, dtype=np.float64)[last_of_step]
    recall = hits / hits[-1] if hits[-1] else np.zeros_like(hits, dtype=np.float64)
    return PrecisionRecall(ordered[last_of_step], hits / taken, recall, taken)


def average_precision(scores: Floats, labels: Floats) -> float:
    """Average the precision over the duplicates: the sum of each gain in recall times the precision there.

    :param scores: of the model.
    :param labels: 1 for duplicates, 0 for others.
    :returns: 0 to 1; 0 where there is no duplicate. Equals scikit-learn's ``average_precision_score``.
    """
    curve = precision_recall(scores, labels)
    return float(np.diff(curve.recall, prepend=0.0) @ curve.precision)


def best_f1(scores: Floats, labels: Floats) -> float:
    """Return the highest F1 that any threshold reaches.

    :param scores: of the model.
    :param labels: 1 for duplicates, 0 for others.
    :returns: 0 to 1.
    """
    return float(f1_values(precision_recall(scores, labels)).max())


def f1_threshold(curve: PrecisionRecall) -> float:
    """Return the threshold that reaches the highest F1; of several the strictest.

    :param curve: the curve, of pairs among which there are duplicates.
    :returns: the threshold.
    """
    return cut_below(curve, int(f1_values(curve).argmax()))


def f1_values(curve: PrecisionRecall) -> Floats:
    """Return the harmonic mean of precision and recall at every score of a curve.

    :param curve: the curve.
    :returns: one value a score; 0 where both are 0.
    """
    total = curve.precision + curve.recall
    return np.divide(2 * curve.precision * curve.recall, total, out=np.zeros_like(total), where=total > 0)


def cut_below(curve: PrecisionRecall, position: int) -> float:
    """Return a threshold that takes the pairs down to one score of a curve, and no more.

    It lies in the middle of the gap to the next score, so that a rounding moves no pair to the other side.

    :param curve: the curve.
    :param position: of the last score to take.
    :returns: the threshold.
    """
    if position + 1 == len(curve.scores):
        return float(curve.scores[position])
    return float((curve.scores[position] + curve.scores[position + 1]) / 2)
