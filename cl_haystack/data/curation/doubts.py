"""How likely a judgement is wrong, when nobody knows which are: a classifier that expects wrong labels.

What is known of two texts (features) tells how likely they belong together; the label that was given says the
same, but for an unknown share of wrong ones. Both, the classifier and the share, are estimated in turns
(expectation maximization), from the file alone, and of each judgement the probability of being wrong results.
So what is doubted can be limited by the number of false alarms that is to be expected.

Source: Bootkrajang and Kabán 2012, "Label-noise robust logistic regression and its applications" (ECML PKDD),
with one share for both labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MIN_OF_EACH = 20
_FITTED_ON = 20_000  # judgements: a few weights are settled long before
_ROUNDS = 600  # where labels and features agree but for the wrong ones, it takes hundreds
_FIRST_SHARE = 0.05
_SHARES = (0.002, 0.3)
_SETTLED = 1e-5
_RIDGE = 0.01  # more, and nothing is ever sure; less, and few judgements are learnt by heart
_NEWTON_STEPS = 25
_HARDLY = 0.1
_HIGHEST = 30.0  # logarithm of odds
_FALSE_ALARMS = 0.005  # expected; 1 % is the most wanted, and up to twice as many come as expected

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Doubts:
    """What is thought of judgements; arrays are ``(judgements,)``.

    :param wrong: how likely each is wrong, 0 to 1.
    :param odds: how much likelier it is that the two texts belong together than that they do not.
    :param share: how many are wrong, of all.
    """

    wrong: Floats
    odds: Floats
    share: float


def most_doubtful(wrong: Floats) -> Mask:
    """Tell what to doubt: as much as an expected false alarm in 200 lines, or one in all, allows.

    :param wrong: how likely something is wrong, 0 to 1, ``(any,)``.
    :returns: ``(any,)``.
    """
    order = np.argsort(-wrong, kind="stable")
    alarms = np.cumsum(1 - wrong[order])
    result = np.zeros(len(wrong), dtype=bool)
    result[order[alarms <= max(_FALSE_ALARMS * len(wrong), 1)]] = True
    return result & (wrong >= _HARDLY)


def doubt(
    features: NDArray[np.float32], given: NDArray[np.int64], known: Floats | None = None
) -> Doubts | None:
    """Estimate how likely judgements are wrong.

    :param features: what is known of the texts, ``(judgements, features)``.
    :param given: 1 where they were judged to belong together, else 0, ``(judgements,)``.
    :param known: how likely each is wrong where that is known, NaN where it is to be estimated,
        ``(judgements,)``; None knows nothing.
    :returns: the estimate; None where fewer than 20 judgements are 1, or 0.
    """
    if min((given == 0).sum(), (given == 1).sum()) < _MIN_OF_EACH:
        return None
    known = np.full(len(given), np.nan) if known is None else known
    chosen = np.sort(np.random.default_rng(0).permutation(len(given))[:_FITTED_ON])
    middle, spread = features[chosen].mean(axis=0), features[chosen].std(axis=0) + 1e-9
    rows = np.column_stack([(features[chosen] - middle) / spread, np.ones(len(chosen))]).astype(np.float64)
    asked = np.isnan(known[chosen])
    wrong = np.where(asked, _FIRST_SHARE, known[chosen])
    weights = np.zeros(rows.shape[1])
    share = _FIRST_SHARE
    for _ in range(_ROUNDS):
        truth = np.where(given[chosen] == 1, 1 - wrong, wrong)
        weights = _fit(rows, truth, weights)
        share = float(np.clip(wrong[asked].mean(), *_SHARES)) if asked.any() else _SHARES[0]
        before, wrong = wrong, np.where(asked, _wrong(rows @ weights, given[chosen], share), wrong)
        if np.abs(wrong - before).max() < _SETTLED:
            break
    scores = ((features - middle) / spread) @ weights[:-1] + weights[-1]
    wrong = np.where(np.isnan(known), _wrong(scores, given, share), known)
    return Doubts(wrong, np.exp(np.clip(scores, -_HIGHEST, _HIGHEST)), share)


def _wrong(scores: Floats, given: NDArray[np.int64], share: float) -> Floats:
    likely = _sigmoid(scores)
    against = np.where(given == 1, 1 - likely, likely) * share
    result: Floats = against / (against + np.where(given == 1, likely, 1 - likely) * (1 - share))
    return result


def _fit(rows: Floats, truth: Floats, weights: Floats) -> Floats:
    """Fit a logistic regression by Newton's method; the last column is the constant, and not penalized."""
    ridge = np.full(rows.shape[1], _RIDGE)
    ridge[-1] = 1e-6
    for _ in range(_NEWTON_STEPS):
        likely = _sigmoid(rows @ weights)
        gradient = rows.T @ (likely - truth) + ridge * weights
        curvature = (rows * (likely * (1 - likely) + 1e-9)[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _sigmoid(scores: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(scores, -_HIGHEST, _HIGHEST)))
    return result
