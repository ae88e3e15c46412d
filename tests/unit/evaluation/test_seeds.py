from statistics import mean

import pytest

from cl_haystack.data import RetrievalTask
from cl_haystack.errors import DataError
from cl_haystack.evaluation import compare, evaluate_given_run
from cl_haystack.evaluation.rows import learning_curve
from cl_haystack.evaluation.seeds import describe_seeds, mean_over_seeds

RANKINGS = {  # place of the relevant document by query, by seed
    "s1": {"a": 1, "b": 2, "c": 3},
    "s2": {"a": 1, "b": 1, "c": 1},
    "s3": {"a": 4, "b": 2, "c": 1},
}


@pytest.fixture
def task(tmp_path):
    return RetrievalTask(
        "toy/test", tmp_path, 4, {q: f"{q}?" for q in "abc"}, {q: {"right": 1} for q in "abc"}
    )


@pytest.fixture
def results(task):
    return [evaluate_given_run(task, _run(places), label=seed) for seed, places in RANKINGS.items()]


def _run(places):
    return {
        query: {**{f"wrong{n}": 10.0 - n for n in range(1, place)}, "right": 10.0 - place}
        for query, place in places.items()
    }


def test_the_mean_is_that_of_each_query_and_of_all(results):
    found = mean_over_seeds(results)
    for query in "abc":
        expected = mean(1 / places[query] for places in RANKINGS.values())
        assert found.per_query[query]["mrr@10"] == pytest.approx(expected)
    for name, value in found.metrics.items():
        assert value == pytest.approx(mean(result.metrics[name] for result in results))
    assert found.label == "s1 (mean of 3 seeds)"
    assert found.run == results[0].run
    assert [metrics["mrr@10"] for metrics in found.seeds] == [r.metrics["mrr@10"] for r in results]
    assert "MRR@10 0.611, 1.000, 0.583; " in describe_seeds(found, "mrr@10")


def test_a_single_seed_stays_as_it_is(results):
    assert mean_over_seeds(results[:1]) is results[0]


def test_a_mean_is_compared_like_any_system(results):
    found = compare(mean_over_seeds(results).per_query, results[0].per_query, "mrr@10")
    differences = [
        compare(result.per_query, results[0].per_query, "mrr@10").difference.mean for result in results
    ]
    assert found.difference.mean == pytest.approx(mean(differences))
    assert (found.wins, found.losses) == (2, 1)


def test_a_point_of_the_curve_is_the_mean_of_its_seeds(results):
    points = learning_curve([(100, results[0]), (0, results[0]), (100, results[1])], "mrr@10")
    assert [point.num_pairs for point in points] == [0, 100]
    assert points[1].value.mean == pytest.approx(mean(r.metrics["mrr@10"] for r in results[:2]))


def test_what_has_no_mean_is_refused(task, results):
    other = evaluate_given_run(task, _run(RANKINGS["s1"]), label="other cut-offs", ks=(5,))
    with pytest.raises(DataError, match="s1 and other cut-offs differ in their queries or metrics"):
        mean_over_seeds([results[0], other])


def test_what_was_odd_with_a_seed_is_told_with_its_name(task, results):
    lame = evaluate_given_run(task, {"a": {"right": 1.0}}, label="lame")
    assert mean_over_seeds([results[0], lame]).oddities[0].startswith("lame: 2 queries are not answered")
