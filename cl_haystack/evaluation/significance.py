"""How sure a figure over queries is: the bootstrap and the randomization test.

A benchmark's queries are a sample of the questions people might ask. Drawing samples of the same size from
them, with replacement, shows how much a mean moves by the luck of the draw; the middle 95 % of the means are
the interval. Two systems are compared **paired**, query by query: what makes a query hard for both cancels
out. The randomization test asks the other way round: if both systems were the same, and only chance decided
which of two values each got on a query, how often would they differ at least as much?

"Better" and "worse" are said only where both agree, the interval without zero and p below 0.05. Below some
twenty queries the intervals are too narrow; no method makes up for questions nobody asked.

Source: Smucker, Allan, Carterette 2007, "A comparison of statistical significance tests for information
retrieval evaluation" (CIKM).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cl_haystack.errors import ConfigurationError, DataError, MissingExtraError

Verdict = Literal["better", "worse", "not distinguishable"]

Floats = NDArray[np.float64]
Statistic = Callable[..., float]

ALPHA = 0.05
_NUM_RESAMPLES = 10_000
# Of a statistic that Python computes sample by sample: a second for 1,000 rows, a minute for a million.
_MAX_SLOW_RESAMPLES = 2_000
_MIN_SLOW_RESAMPLES = 200
_MAX_SLOW_VALUES = 200_000_000
_MAX_VALUES_AT_ONCE = 4_000_000  # bounds the memory of the resamples at about 64 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval that its bootstrap distribution leaves likely."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One system against another on the same queries.

    :param metric: what is compared, such as ``ndcg@10``.
    :param mean: the system's mean.
    :param baseline_mean: the baseline's mean.
    :param difference: mean difference, system minus baseline, with its interval.
    :param p_value: how likely a difference of this size is where there is none; two-sided.
    :param num_queries: queries (or pairs, see ``unit``) compared.
    :param wins: queries on which the system is better; None where a metric has no value for one query.
    :param losses: queries on which it is worse.
    :param unit: what was compared, in the plural.
    """

    metric: str
    mean: float
    baseline_mean: float
    difference: Interval
    p_value: float
    num_queries: int
    wins: int | None = None
    losses: int | None = None
    unit: str = "queries"

    @property
    def ties(self) -> int | None:
        """Queries on which both are equal."""
        if self.wins is None or self.losses is None:
            return None
        return self.num_queries - self.wins - self.losses

    @property
    def verdict(self) -> Verdict:
        """``better`` or ``worse`` where the interval excludes 0 and p is below 0.05."""
        if self.p_value >= ALPHA:
            return "not distinguishable"
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not distinguishable"


def require_scipy() -> None:
    """Raise now what an interval would raise later.

    :raises MissingExtraError: scipy is not installed.
    """
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise MissingExtraError("scipy", "report") from None


def paired_bootstrap(
    values: Sequence[float],
    baseline: Sequence[float] | None = None,
    *,
    confidence: float = 0.95,
    num_resamples: int = _NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Bootstrap the mean of one system, or of its difference to another, over queries.

    Equal values give an interval of no width: ``paired_bootstrap([0.5, 0.5])`` is (0.5, 0.5, 0.5).

    :param values: one value a query.
    :param baseline: the other system's values, same queries, same order; None looks at ``values`` alone.
    :param confidence: probability mass of the interval, between 0 and 1.
    :param num_resamples: samples drawn; 10,000 leave about 1 % of noise in the interval's width.
    :param seed: same seed, same interval.
    :returns: mean and percentile interval.
    :raises DataError: fewer than two queries, values that do not pair up, or NaN.
    :raises ConfigurationError: the confidence is not between 0 and 1.
    :raises MissingExtraError: scipy is not installed.
    """
    require_scipy()
    from scipy import stats

    sample = _differences(values, baseline)  # (queries,)
    if not 0 < confidence < 1:
        raise ConfigurationError(
            f"confidence is {confidence}; expected a number between 0 and 1, such as 0.95"
        )
    result = stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=num_resamples,
        batch=max(1, _MAX_VALUES_AT_ONCE // len(sample)),
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(mean=float(sample.mean()), low=float(low), high=float(high))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of one system over its queries, with an interval where there are two or more.

    :param values: one value a query, at least one.
    :returns: mean and interval; an interval of no width where there is but one value.
    :raises MissingExtraError: scipy is not installed.
    """
    return paired_bootstrap(values) if len(values) > 1 else Interval(values[0], values[0], values[0])


def randomization_p_value(
    values: Sequence[float],
    baseline: Sequence[float],
    *,
    num_resamples: int = _NUM_RESAMPLES,
    seed: int = 0,
) -> float:
    """Test whether two systems differ in the mean, by swapping their values at random on each query.

    :param values: one value a query.
    :param baseline: the other system's values, same queries, same order.
    :param num_resamples: random swaps; where there are no more possible ones, all are tried, once each.
    :param seed: same seed, same value.
    :returns: two-sided p-value, never 0; 1 where the systems are equal on every query.
    :raises DataError: fewer than two queries, values that do not pair up, or NaN.
    :raises MissingExtraError: scipy is not installed.
    """
    require_scipy()
    from scipy import stats

    sample = _differences(values, baseline)  # (queries,)
    result = stats.permutation_test(
        (sample,),  # of one sample, signs are flipped: that is the swap
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=num_resamples - 1,
        batch=max(1, _MAX_VALUES_AT_ONCE // len(sample)),
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def bootstrap_statistic(statistic: Statistic, samples: Sequence[Floats], *, seed: int = 0) -> Interval:
    """Bootstrap a statistic of rows, such as a correlation, which is no mean.

    :param statistic: takes the samples, all of the same rows, and returns a number.
    :param samples: arrays with one value a row; resampled together.
    :param seed: same seed, same interval.
    :returns: the statistic of all rows, and its 95 % percentile interval.
    :raises DataError: fewer than two rows.
    :raises MissingExtraError: scipy is not installed.
    """
    require_scipy()
    from scipy import stats

    if len(samples[0]) < 2:
        raise DataError(f"an interval needs at least two pairs; found {len(samples[0])}")
    result = stats.bootstrap(
        tuple(samples),
        statistic,
        paired=True,
        vectorized=False,
        n_resamples=_num_slow_resamples(len(samples[0])),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(mean=statistic(*samples), low=float(low), high=float(high))


def swap_p_value(difference: Statistic, one: Floats, other: Floats, truth: Floats, *, seed: int = 0) -> float:
    """Test a difference of statistics by swapping what two systems gave each row, at random.

    :param difference: takes both systems' values and ``truth``, and returns one statistic minus the other.
    :param one: the one system's value of each row; on the same scale as the other's, such as ranks.
    :param other: the other's.
    :param truth: the rows' judgements, which stay.
    :param seed: same seed, same value.
    :returns: two-sided p-value, never 0.
    """
    rng = np.random.default_rng(seed)
    num_resamples = _num_slow_resamples(len(one))
    observed = abs(difference(one, other, truth)) - 1e-12
    extreme = 0
    for _ in range(num_resamples - 1):
        swapped = rng.random(len(one)) < 0.5
        mixed = np.where(swapped, other, one), np.where(swapped, one, other)
        extreme += abs(difference(*mixed, truth)) >= observed
    return (1 + extreme) / num_resamples


def compare(
    per_query: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, Mapping[str, float]],
    metric: str = "ndcg@10",
    *,
    seed: int = 0,
) -> Comparison:
    """Compare two systems by one metric, paired over their queries.

    :param per_query: metrics of the system by query id.
    :param baseline: metrics of the other system, for the same queries.
    :param metric: a key of both.
    :param seed: same seed, same interval.
    :returns: the difference, its interval and the verdict.
    :raises DataError: the queries differ or are fewer than two, or the metric is missing.
    :raises MissingExtraError: scipy is not installed.
    """
    if per_query.keys() != baseline.keys():
        num_unshared = len(per_query.keys() ^ baseline.keys())
        raise DataError(
            f"{num_unshared} queries are in one of the two results only; evaluate both on the same"
        )
    values = metric_values(per_query, metric)
    others = [row[metric] for row in (baseline[query] for query in per_query) if metric in row]
    if len(others) != len(values):
        raise DataError(
            f"the baseline has no {metric!r} for every query; evaluate both with the same cut-offs"
        )
    return Comparison(
        metric=metric,
        mean=float(np.mean(values)),
        baseline_mean=float(np.mean(others)),
        difference=paired_bootstrap(values, others, seed=seed),
        p_value=randomization_p_value(values, others, seed=seed),
        num_queries=len(values),
        wins=sum(a > b for a, b in zip(values, others, strict=True)),
        losses=sum(a < b for a, b in zip(values, others, strict=True)),
    )


def metric_values(per_query: Mapping[str, Mapping[str, float]], metric: str) -> list[float]:
    """Return one metric of each query, in the order of the queries.

    :param per_query: metrics by query id.
    :param metric: a key of each, such as ``ndcg@10``.
    :returns: one value a query.
    :raises DataError: a query lacks the metric.
    """
    for row in per_query.values():
        if metric not in row:
            raise DataError(f"there is no {metric!r}; expected one of {', '.join(row)}")
    return [row[metric] for row in per_query.values()]


def _num_slow_resamples(num_rows: int) -> int:
    return max(_MIN_SLOW_RESAMPLES, min(_MAX_SLOW_RESAMPLES, _MAX_SLOW_VALUES // num_rows))


def _differences(values: Sequence[float], baseline: Sequence[float] | None) -> Floats:
    if baseline is not None and len(baseline) != len(values):
        raise DataError(f"{len(values)} values against {len(baseline)}; expected one a query in both")
    sample = np.asarray(values, dtype=np.float64)
    if baseline is not None:
        sample = sample - np.asarray(baseline, dtype=np.float64)
    if len(sample) < 2:
        raise DataError(f"an interval needs at least two queries; found {len(sample)}")
    if not np.isfinite(sample).all():
        raise DataError("a value is NaN or infinite; expected one finite number a query")
    return sample
