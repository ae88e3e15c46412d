"""From judged pairs to a threshold: the similarity from which on a match is right as often as wanted.

The precision of a threshold on the pairs that it was chosen on flatters it: of many thresholds that lie about
where the wanted precision is reached, the one whose pairs were lucky is taken. So what must reach the wanted
precision is not the share of right matches but the lower bound that the number of matches leaves of it,
Wilson's, one-sided, at 90 %.
"""

import math
from statistics import NormalDist

import numpy as np

from cl_haystack.bundle.fingerprint import file_entry
from cl_haystack.bundle.manifest import Threshold
from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.evaluation.pair_metrics import cut_below, precision_recall
from cl_haystack.evaluation.pair_tasks import PairResult, PairTask
from cl_haystack.evaluation.significance import Floats, require_scipy

# Simulated: normal scores of 100 to 3,000 pairs, a fifth or a half of them duplicates, with and without hard
# negatives, 0.9 to 0.99 wanted. A threshold below that was chosen in 7 % of the draws, at worst in 18 %; with
# a bound at 80 % in 19 % (44 %), at 95 % in 2 % (9 %) but ten points more were refused; by the share of right
# matches alone in 62 %. Recall is 0.92 of that of the lowest threshold with the wanted precision.
_CONFIDENCE = 0.9
_Z = NormalDist().inv_cdf(_CONFIDENCE)


def choose_threshold(task: PairTask, result: PairResult, *, precision: float) -> Threshold:
    """Choose the lowest threshold, which finds most, among those that are surely enough that precise.

    The precision holds for pairs like these: among all pairs of a collection duplicates are far rarer than in
    most judged sets, and precision falls with their share.

    :param task: labelled pairs.
    :param result: a model's scores of them.
    :param precision: share of matches that must be right, above 0 and below 1. The lower bound of the
        precision (Wilson's, one-sided, 90 %) reaches it.
    :returns: the threshold with the precision, its interval (Wilson's, 95 %) and the recall reached on these
        pairs.
    :raises DataError: the pairs are all duplicates or none, too few, or no threshold is that precise.
    :raises ConfigurationError: the precision is not above 0 and below 1.
    :raises MissingExtraError: scipy is not installed.
    """
    require_scipy()
    from scipy import stats

    check_calibration(task, precision)
    scores, labels = result.labelled(task)
    curve = precision_recall(scores, labels)
    lower = _lower_bound(curve.precision, curve.taken)
    reaching = np.flatnonzero(lower >= precision)
    if not len(reaching):
        best = int(np.argmax(lower))
        raise DataError(
            f"no threshold surely has a precision of {precision}: the best is right on "
            f"{curve.precision[best]:.3f} of {curve.taken[best]:,.0f} pairs, at a recall of "
            f"{curve.recall[best]:.3f}, so its precision is above {lower[best]:.3f}, "
            f"{_CONFIDENCE:.0%} sure; ask for less, judge more pairs, or train on such pairs",
            path=task.path,
        )
    last = int(reaching[-1])
    hits, taken = round(curve.recall[last] * labels.sum()), int(curve.taken[last])
    interval = stats.binomtest(hits, taken).proportion_ci(method="wilson")
    return Threshold(
        score=cut_below(curve, last),
        wanted_precision=precision,
        precision=float(curve.precision[last]),
        precision_ci95=(float(interval.low), float(interval.high)),
        recall=float(curve.recall[last]),
        pairs=len(labels),
        positives=int(labels.sum()),
        dataset=task.name,
        sha256=file_entry(task.path).sha256,
    )


def check_calibration(task: PairTask, precision: float) -> None:
    """Say before the work what :func:`choose_threshold` would say after it.

    :param task: labelled pairs.
    :param precision: what will be asked for.
    :raises DataError: the pairs are all duplicates or none, or too few.
    :raises ConfigurationError: the precision is not above 0 and below 1.
    """
    if not 0 < precision < 1:
        raise ConfigurationError(f"precision is {precision}; expected above 0 and below 1, such as 0.95")
    labels = task.labels[np.isfinite(task.labels)]
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        every = f"{'all' if positives else 'none'} of {len(labels):,} labelled pairs"
        found = f"{every} {'have' if positives else 'has'} label 1" if len(labels) else "no pair has a label"
        raise DataError(f"{found}; a threshold needs duplicates and others", path=task.path)
    needed = math.ceil(
        precision * _Z**2 / (1 - precision)
    )  # the bound of so many matches, all right, is there
    if positives < needed:
        problem = (
            f"{positives:,} pairs have label 1; it takes {needed:,} to be sure of a precision of {precision}"
        )
        raise DataError(f"{problem}: judge more pairs, or ask for less", path=task.path)


def _lower_bound(precision: Floats, taken: Floats) -> Floats:
    """Return Wilson's lower bound, one-sided, of shares of so many pairs."""
    middle = precision + _Z**2 / (2 * taken)
    spread = _Z * np.sqrt(precision * (1 - precision) / taken + _Z**2 / (4 * taken**2))
    bound: Floats = (middle - spread) / (1 + _Z**2 / taken)
    return bound
