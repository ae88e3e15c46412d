"""From judged pairs to a threshold: the similarity from which on a match is right as often as wanted."""

import numpy as np

from cl_haystack.bundle.fingerprint import file_entry
from cl_haystack.bundle.manifest import Threshold
from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.evaluation.pair_metrics import cut_below, precision_recall
from cl_haystack.evaluation.pair_tasks import PairResult, PairTask
from cl_haystack.evaluation.significance import require_scipy


def choose_threshold(task: PairTask, result: PairResult, *, precision: float) -> Threshold:
    """Choose the lowest threshold, which finds most, among those with the wanted precision.

    The precision holds for pairs like these: among all pairs of a collection duplicates are far rarer than in
    most judged sets, and precision falls with their share.

    :param task: labelled pairs.
    :param result: a model's scores of them.
    :param precision: share of matches that must be right, above 0, at most 1.
    :returns: the threshold with the precision, its interval (Wilson's) and the recall reached on these pairs.
    :raises DataError: no pair is labelled as a duplicate, or no threshold is that precise.
    :raises ConfigurationError: the precision is not above 0 and at most 1.
    :raises MissingExtraError: scipy is not installed.
    """
    require_scipy()
    from scipy import stats

    check_calibration(task, precision)
    scores, labels = result.labelled(task)
    curve = precision_recall(scores, labels)
    reaching = np.flatnonzero((curve.precision >= precision) & (curve.recall > 0))
    if not len(reaching):
        best = int(np.argmax(curve.precision))
        raise DataError(
            f"no threshold has a precision of {precision}: the highest is {curve.precision[best]:.3f}, at a "
            f"recall of {curve.recall[best]:.3f}; ask for less, or train on such pairs",
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
    :raises DataError: no pair is labelled as a duplicate.
    :raises ConfigurationError: the precision is not above 0 and at most 1.
    """
    if not 0 < precision <= 1:
        raise ConfigurationError(f"precision is {precision}; expected above 0 and at most 1, such as 0.95")
    labels = task.labels[np.isfinite(task.labels)]
    if not labels.any():
        found = (
            f"none of {len(labels):,} labelled pairs has label 1" if len(labels) else "no pair has a label"
        )
        raise DataError(f"{found}; a threshold needs duplicates and others", path=task.path)
