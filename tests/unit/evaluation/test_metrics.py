import math

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.evaluation import evaluate_run, per_query, ranked
from cl_haystack.evaluation.metrics import METRICS
from tests.reference.metrics import query_metrics, rank_documents, run_metrics

QUERIES = st.sampled_from(["q1", "q2", "q3", "Q", "ü"])
DOCUMENTS = st.sampled_from(["1", "10", "2", "a", "B", "é", "z", "漢", "\U0001f600", "d-9"])
# Few values, so that ties happen; two of them differ in double precision only.
SCORES = st.sampled_from([0.0, -1.0, 0.5, 1.0, 1.0 + 1e-12, 3.0]) | st.floats(-1e6, 1e6)
QRELS = st.dictionaries(QUERIES, st.dictionaries(DOCUMENTS, st.integers(-2, 4)), min_size=1)
RUNS = st.dictionaries(QUERIES, st.dictionaries(DOCUMENTS, SCORES))
KS = st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True)


@given(QRELS, RUNS, KS)
def test_equal_to_the_formulas(qrels, run, ks):
    expected = run_metrics(qrels, run, ks)
    found = evaluate_run(qrels, run, ks)
    assert found == pytest.approx(expected, abs=1e-9)
    assert list(found) == [f"{name}@{k}" for k in ks for name in METRICS]


@given(QRELS, RUNS, KS)
def test_each_query_equals_its_formula_and_keeps_its_place(qrels, run, ks):
    found = per_query(qrels, run, ks)
    assert list(found) == list(qrels)
    for query, grades in qrels.items():
        for k in ks:
            expected = query_metrics(grades, run.get(query, {}), k)
            assert {name: found[query][name] for name in expected} == pytest.approx(expected, abs=1e-9)


@given(st.dictionaries(DOCUMENTS, SCORES))
def test_ranking_is_that_of_the_metrics(scores):
    assert ranked(scores) == rank_documents(scores)


@given(QRELS, RUNS, st.randoms())
def test_the_order_of_dicts_changes_nothing(qrels, run, random):
    def shuffled(mapping):
        items = list(mapping.items())
        random.shuffle(items)
        return dict(items)

    again = {query: shuffled(scores) for query, scores in shuffled(run).items()}
    assert evaluate_run(shuffled(qrels), again) == pytest.approx(evaluate_run(qrels, run), abs=1e-12)


def test_equal_to_pytrec_eval_where_the_run_answers_every_query():
    qrels = {f"q{i}": {f"d{j}": (i * j) % 3 for j in range(20)} for i in range(1, 30)}
    run = {query: {f"d{j}": (j * 7 + i) % 11 / 3 for j in range(15)} for i, query in enumerate(qrels)}
    raw = pytrec_eval.RelevanceEvaluator(
        qrels, {"ndcg_cut.10", "recall.10", "map_cut.10", "recip_rank"}
    ).evaluate(run)
    found = evaluate_run(qrels, run, ks=(10, 15))
    for ours, theirs in [("ndcg@10", "ndcg_cut_10"), ("recall@10", "recall_10"), ("map@10", "map_cut_10")]:
        assert found[ours] == pytest.approx(sum(row[theirs] for row in raw.values()) / len(qrels), abs=1e-12)
    assert found["mrr@15"] == pytest.approx(sum(row["recip_rank"] for row in raw.values()) / len(qrels))


@given(
    st.dictionaries(QUERIES, st.dictionaries(DOCUMENTS, st.integers(-1, 4), min_size=1), min_size=1),
    st.dictionaries(DOCUMENTS, SCORES, min_size=1),
    st.integers(1, 12),
)
def test_equal_to_pytrec_eval_with_ties_and_negative_grades(qrels, scores, k):
    run = dict.fromkeys(qrels, scores)
    names = {"ndcg": "ndcg_cut", "recall": "recall", "map": "map_cut", "precision": "P", "success": "success"}
    raw = pytrec_eval.RelevanceEvaluator(qrels, {f"{name}.{k}" for name in names.values()}).evaluate(run)
    found = per_query(qrels, run, (k,))
    for query, metrics in raw.items():
        for ours, theirs in names.items():
            assert found[query][f"{ours}@{k}"] == pytest.approx(metrics[f"{theirs}_{k}"], abs=1e-9)


def test_known_values():
    found = evaluate_run(
        {"q": {"a": 3, "b": 1, "c": 0}}, {"q": {"c": 3.0, "b": 2.0, "x": 1.0, "a": 0.5}}, ks=(2, 4)
    )
    best = 3 + 1 / math.log2(3)
    assert found["ndcg@2"] == pytest.approx(1 / math.log2(3) / best)
    assert found["ndcg@4"] == pytest.approx((1 / math.log2(3) + 3 / math.log2(5)) / best)
    assert (found["recall@2"], found["recall@4"]) == (0.5, 1.0)
    assert (found["mrr@2"], found["precision@2"], found["success@2"]) == (0.5, 0.5, 1.0)
    assert found["map@4"] == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_mrr_is_zero_beyond_its_cut_off():
    run = {"q": {"x": 3.0, "y": 2.0, "a": 1.0}}
    found = evaluate_run({"q": {"a": 1}}, run, ks=(2, 3))
    assert (found["mrr@2"], found["mrr@3"]) == (0.0, pytest.approx(1 / 3))


def test_ties_go_to_the_larger_id_also_where_only_double_precision_tells_them_apart():
    assert evaluate_run({"q": {"a": 1}}, {"q": {"a": 1.0, "b": 1.0}})["mrr@10"] == 0.5
    assert evaluate_run({"q": {"b": 1}}, {"q": {"a": 1.0, "b": 1.0}})["mrr@10"] == 1.0
    assert evaluate_run({"q": {"a": 1}}, {"q": {"a": 1.0 + 1e-12, "b": 1.0}})["mrr@10"] == 0.5


def test_unanswered_and_hopeless_queries_count_as_zero_and_unjudged_ones_do_not_count():
    qrels = {"answered": {"a": 1}, "missing": {"a": 1}, "hopeless": {"a": 0}, "unjudged-documents": {}}
    run = {"answered": {"a": 1.0}, "hopeless": {"a": 1.0}, "without-judgements": {"a": 1.0}}
    assert evaluate_run(qrels, run)["ndcg@10"] == 0.25
    assert per_query(qrels, {})["answered"]["recall@10"] == 0.0
    assert evaluate_run({"q": {}}, run) == dict.fromkeys(evaluate_run(qrels, run), 0.0)


def test_grades_far_below_zero_are_not_relevant_and_do_not_crash():
    for _ in range(200):  # the crash came by chance
        assert evaluate_run({"q": {"a": -2, "b": -9}}, {"q": {"a": 1.0}}, ks=(10, 1, 10))["ndcg@10"] == 0.0


def test_what_cannot_be_evaluated_is_refused():
    with pytest.raises(DataError, match="no judgements"):
        evaluate_run({}, {"q": {"a": 1.0}})
    with pytest.raises(DataError, match="document 'a' for query 'q' is NaN"):
        evaluate_run({"q": {"a": 1}}, {"q": {"a": math.nan}})
    with pytest.raises(DataError, match="grade above 1,000,000"):
        evaluate_run({"q": {"a": 2**31}}, {"q": {"a": 1.0}})
    for ks in ([], [0], [10, -1]):
        with pytest.raises(ConfigurationError, match="at least 1"):
            evaluate_run({"q": {"a": 1}}, {}, ks)
