"""Results in others' forms: MTEB's JSON, Haystack's result; and the views that training pairs leave."""

import json

import pytest

from cl_haystack.data import Pair, RetrievalTask, find_overlap
from cl_haystack.errors import DataError
from cl_haystack.evaluation.exchange import to_haystack, write_mteb
from cl_haystack.evaluation.metrics import evaluate_run
from cl_haystack.evaluation.retrieval import evaluate_given_run
from cl_haystack.evaluation.rows import learning_curve
from cl_haystack.evaluation.views import training_views


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({"_id": f"d{i}", "text": f"answer number {i}"}) + "\n" for i in range(6))
    )
    queries = {f"q{i}": f"a question about the subject {i} and nothing else" for i in range(3)}
    queries |= {"q3": "who ate my cheese", "q4": "when do trains run", "q5": "something quite different"}
    return RetrievalTask("toy/test", path, 6, queries, {f"q{i}": {f"d{i}": 1} for i in range(6)})


@pytest.fixture
def run(task):
    return {query: {f"d{(i * 2) % 6}": 2.0, f"d{i}": 1.0} for i, query in enumerate(task.queries)}


def test_a_run_of_another_system_is_evaluated_and_its_gaps_are_named(task, run):
    del run["q5"]
    run["extra"] = {"d1": 1.0}
    result = evaluate_given_run(task, run, label="other")
    assert result.metrics["mrr@10"] == pytest.approx((1 + 0.5 + 0.5 + 0.5 + 0.5 + 0) / 6)
    assert result.oddities == (
        "1 queries are not answered by the run and score 0 ('q5')",
        "1 queries of the run have no judgements and are ignored ('extra')",
    )
    cut = evaluate_given_run(task, {"q1": {f"x{i}": -float(i) for i in range(300)}}, label="x", top_k=100)
    assert len(cut.run["q1"]) == 100
    with pytest.raises(DataError, match="answers no query of toy/test"):
        evaluate_given_run(task, {"q9": {"d1": 1.0}}, label="other")


def test_mteb_reads_what_was_written(task, run, tmp_path):
    """The fields are those of mteb.results.TaskResult, which insists on these."""
    result = evaluate_given_run(task, run, label="x")
    write_mteb(tmp_path / "toy.json", task, result)
    found = json.loads((tmp_path / "toy.json").read_text())
    assert (found["task_name"], found["mteb_version"]) == ("toy", None)
    assert {"dataset_revision", "evaluation_time", "kg_co2_emissions"} <= found.keys()
    (scores,) = found["scores"]["test"]
    assert (scores["hf_subset"], scores["languages"]) == ("default", [])
    assert scores["main_score"] == scores["ndcg_at_10"] == result.metrics["ndcg@10"]
    assert scores["hit_rate_at_1"] == evaluate_run(task.qrels, run, (1,))["success@1"]
    assert "ndcg_at_1000" not in scores  # only 100 documents were asked for


def test_haystack_compares_two_results(task, run):
    one = to_haystack(task, evaluate_given_run(task, run, label="one"))
    other = to_haystack(task, evaluate_given_run(task, {"q0": {"d0": 1.0}}, label="other"))
    assert one.aggregated_report()["metrics"][0] == "ndcg@10"
    detail = one.comparative_detailed_report(other, output_format="json")
    assert detail["question"][5] == "something quite different"
    assert detail["one_mrr@10"] == [1.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert detail["other_mrr@10"] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_views_leave_out_what_training_pairs_give_away(task):
    pairs = [
        Pair(anchor="unrelated words here", positive="answer number 4"),
        Pair(anchor="a question about the subject 9 and nothing else", positive="something"),
    ]
    assert {view.name: view.queries for view in training_views(task, find_overlap(pairs, task))} == {
        "documents that no training pair names": ("q0", "q1", "q2", "q3", "q5"),
        "questions unlike any training anchor": ("q3", "q4", "q5"),
        "both": ("q3", "q5"),
    }
    all_given_away = [
        Pair(anchor=text, positive=f"answer number {q[1:]}") for q, text in task.queries.items()
    ]
    views = training_views(task, find_overlap(all_given_away, task))
    assert [view.queries for view in views] == [(), (), ()]


def test_a_learning_curve_is_in_the_order_of_its_sizes(task, run):
    worse = evaluate_given_run(task, {"q0": {"d0": 1.0}}, label="base")
    better = evaluate_given_run(task, run, label="tuned")
    points = learning_curve([(300, better), (0, worse)], "mrr@10")
    assert [point.num_pairs for point in points] == [0, 300]
    assert points[1].value.mean == better.metrics["mrr@10"]
    assert points[1].value.low <= points[1].value.mean <= points[1].value.high
