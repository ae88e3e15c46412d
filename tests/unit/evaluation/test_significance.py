import sys

import numpy as np
import pytest

from cl_haystack.errors import ConfigurationError, DataError, MissingExtraError
from cl_haystack.evaluation import Interval, compare, paired_bootstrap
from cl_haystack.evaluation.significance import randomization_p_value, swap_p_value

RNG = np.random.default_rng(7)
NORMAL = RNG.normal(0.5, 0.2, size=400)


def by_query(values, metric="ndcg@10"):
    return {f"q{number}": {metric: float(value)} for number, value in enumerate(values)}


def test_equal_values_have_an_interval_of_no_width():
    assert paired_bootstrap([0.25] * 50) == Interval(0.25, 0.25, 0.25)
    assert paired_bootstrap(list(NORMAL), list(NORMAL)) == Interval(0, 0, 0)


def test_a_large_sample_has_the_interval_of_the_normal_distribution():
    found = paired_bootstrap(list(NORMAL))
    half = 1.96 * NORMAL.std() / np.sqrt(len(NORMAL))
    assert found.mean == pytest.approx(NORMAL.mean(), abs=1e-12)
    assert found.low == pytest.approx(NORMAL.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(NORMAL.mean() + half, abs=0.05 * half)


def test_a_higher_confidence_is_a_wider_interval():
    narrow, wide = (paired_bootstrap(list(NORMAL), confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_the_seed_decides():
    assert paired_bootstrap(list(NORMAL), seed=3) == paired_bootstrap(list(NORMAL), seed=3)
    assert paired_bootstrap(list(NORMAL), seed=3) != paired_bootstrap(list(NORMAL), seed=4)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = (paired_bootstrap(rng.random(60).tolist(), num_resamples=500, seed=i) for i in range(200))
    covered = sum(interval.low <= 0.5 <= interval.high for interval in intervals)
    assert 178 <= covered <= 199  # 95 % of 200, give or take four standard deviations


def test_pairing_sees_a_small_gain_that_two_intervals_hide():
    gained = NORMAL + RNG.normal(0.01, 0.01, size=len(NORMAL))
    found = compare(by_query(gained), by_query(NORMAL))
    assert found.verdict == "better"
    assert 0.005 < found.difference.low < found.difference.high < 0.015
    assert paired_bootstrap(list(gained)).low < paired_bootstrap(list(NORMAL)).high


def test_verdicts_counts_and_means():
    assert compare(by_query(NORMAL - 0.1), by_query(NORMAL)).verdict == "worse"
    found = compare(by_query([1, 0, 0.5, 0.5]), by_query([0, 1, 0.5, 0.25]))
    assert (found.wins, found.losses, found.ties, found.num_queries) == (2, 1, 1, 4)
    assert (found.mean, found.baseline_mean, found.difference.mean) == (0.5, 0.4375, 0.0625)
    assert found.verdict == "not distinguishable"
    assert compare(by_query(NORMAL), by_query(NORMAL)).verdict == "not distinguishable"


def test_the_order_of_the_queries_does_not_matter():
    one, two = by_query(NORMAL), by_query(NORMAL + 0.1)
    assert compare(one, dict(reversed(two.items()))).difference == compare(one, two).difference


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="at least two queries; found 1"):
        paired_bootstrap([0.5])
    with pytest.raises(DataError, match="2 values against 3"):
        paired_bootstrap([0.5, 0.5], [0.5, 0.5, 0.5])
    with pytest.raises(DataError, match="NaN"):
        paired_bootstrap([0.5, float("nan")])
    with pytest.raises(ConfigurationError, match="confidence"):
        paired_bootstrap([0.5, 0.6], confidence=95)
    with pytest.raises(DataError, match="2 queries are in one of the two results only"):
        compare({"q1": {}, "q2": {}}, {"q1": {}, "q3": {}})
    with pytest.raises(DataError, match=r"no 'map@10'; expected one of ndcg@10"):
        compare(by_query([1, 2]), by_query([1, 2]), "map@10")
    with pytest.raises(DataError, match="baseline has no 'map@10'"):
        compare(by_query([1, 2], "map@10"), by_query([1, 2]), "map@10")


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtraError, match=r"cl-haystack\[report\]"):
        paired_bootstrap([0.5, 0.6])


def test_the_randomization_test_is_exact_where_all_swaps_can_be_tried():
    values = [0.9, 0.8, 0.7, 0.9, 0.6, 0.8]
    baseline = [0.5, 0.4, 0.6, 0.5, 0.5, 0.9]
    differences = np.array(values) - np.array(baseline)
    signs = np.array(np.meshgrid(*[[1, -1]] * 6)).reshape(6, -1).T  # (64, 6)
    expected = np.mean(np.abs((signs * differences).mean(axis=1)) >= abs(differences.mean()) - 1e-12)
    assert randomization_p_value(values, baseline) == pytest.approx(expected)


def test_p_values_of_equal_systems_are_spread_evenly():
    rng = np.random.default_rng(1)
    found = [
        randomization_p_value(rng.random(40).tolist(), rng.random(40).tolist(), num_resamples=200, seed=seed)
        for seed in range(200)
    ]
    assert 2 <= sum(p < 0.05 for p in found) <= 22  # 5 % of 200, give or take four standard deviations
    assert 0.4 < np.mean(found) < 0.6
    assert randomization_p_value([0.5, 0.6], [0.5, 0.6]) == 1


def test_a_clear_difference_has_a_small_p_value_but_never_0():
    assert 0 < randomization_p_value(list(NORMAL + 0.1), list(NORMAL)) < 0.001

    def difference(one, other, _truth):
        return one.mean() - other.mean()

    assert 0 < swap_p_value(difference, NORMAL + 0.1, NORMAL, NORMAL) < 0.01
    assert swap_p_value(difference, NORMAL, NORMAL, NORMAL) == 1


def test_better_is_said_only_where_interval_and_test_agree():
    found = compare(by_query([0.2, 0.3, 0.4]), by_query([0.1, 0.1, 0.1]))
    assert found.difference.low > 0  # three queries: the interval knows no better ...
    assert found.p_value == pytest.approx(0.25)  # ... two of eight swaps are as large
    assert found.verdict == "not distinguishable"
