import pytest

from cl_haystack.data import RetrievalTask
from cl_haystack.evaluation import Interval, evaluate_search
from cl_haystack.evaluation.examples import (
    build_examples,
    hardest,
    hardest_negatives,
    largest_changes,
    pair_changes,
)
from cl_haystack.evaluation.live import index_search
from cl_haystack.evaluation.pair_tasks import PairResult, read_pair_task
from cl_haystack.evaluation.retrieval_report import describe_training
from cl_haystack.evaluation.rows import comparison_row, conclude, gains, system_row

ANSWERS = {
    "before": {"a": ["1", "2"], "b": ["2", "1"], "c": ["1", "2"], "d": ["2", "1"]},
    "after": {"a": ["2", "1"], "b": ["1", "2"], "c": ["1", "2"], "d": ["1", "2"]},
}


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        '{"_id": "1", "title": "One", "text": "' + "word " * 100 + '"}\n{"_id": "2", "text": "two"}\n'
    )
    return RetrievalTask(
        "toy/test", path, 2, {q: f"{q}?" for q in "abcd"}, {q: {"1": 1, "2": 0} for q in "abcd"}
    )


@pytest.fixture
def before(task):
    return evaluate(task, "before")


@pytest.fixture
def after(task):
    return evaluate(task, "after")


def evaluate(task, label):
    def search(queries, top_k):
        ranking = ANSWERS[label][queries[0][0]]
        return [[(document, 1.0 / rank) for rank, document in enumerate(ranking, start=1)]]

    return evaluate_search(task, search, label=label, top_k=10, ks=(10,))


def test_a_row_has_intervals_where_they_are_wanted(before):
    row = system_row(before, ["mrr@10"], highlight=True)
    assert row.metrics["mrr@10"].mean == before.metrics["mrr@10"] == 0.75
    assert row.metrics["mrr@10"].low < 0.75 < row.metrics["mrr@10"].high
    assert (row.label, row.highlight, row.latency) == ("before", True, before.latency)
    assert system_row(before, ["mrr@10"], intervals=False).metrics == {"mrr@10": 0.75}


def test_the_conclusion_says_what_the_interval_says(before, after):
    row = comparison_row(after, before, "mrr@10")
    assert gains(after, before, "mrr@10").differences == [-0.5, 0.5, 0, 0.5]
    assert conclude(row).replace("\N{MINUS SIGN}", "-") == (
        "after cannot be distinguished from before on these 4 queries: MRR@10 0.750 → 0.875, "
        "+12.5 points with a 95 % interval from -25.0 to +50.0, p = 1."
    )


def test_a_clear_difference_is_called_better_or_worse(before, after):
    from dataclasses import replace

    row = comparison_row(after, before)
    clear = replace(row.comparison, p_value=0.0002)
    better = replace(row, comparison=replace(clear, difference=Interval(0.05, 0.04, 0.06)))
    assert conclude(better).startswith("after is better than before: nDCG@10 ")
    assert conclude(better).endswith("+5.0 points with a 95 % interval from +4.0 to +6.0, p < 0.001.")
    worse = replace(row, comparison=replace(clear, difference=Interval(-0.05, -0.06, -0.04)))
    assert conclude(worse).startswith("after is worse than before: ")


def test_the_largest_losses_come_first(before, after):
    notes = largest_changes(after, before, metric="mrr@10", num_each=2)
    assert list(notes.items()) == [
        ("a", "loss: MRR@10 1.00 → 0.50"),
        ("d", "gain: MRR@10 0.50 → 1.00"),
        ("b", "gain: MRR@10 0.50 → 1.00"),
    ]
    assert largest_changes(before, before) == {}
    assert list(hardest(before, num=2)) == ["b", "d"]


def test_examples_stand_side_by_side_with_their_texts(task, before, after):
    (example,) = build_examples(task, [before, after], {"a": "loss"}, depth=1)
    assert (example.question, example.note) == ("a?", "loss")
    left, right = example.results
    assert (left.label, left.first_relevant_rank) == ("before", 1)
    assert [(d.rank, d.title, d.relevant) for d in left.documents] == [(1, "One", True)]
    assert left.documents[0].excerpt.endswith("word…")
    assert len(left.documents[0].excerpt) <= 220
    assert (right.label, right.first_relevant_rank) == ("after", 2)
    assert [(d.title, d.excerpt, d.relevant) for d in right.documents] == [("2", "two", False)]


def test_hardest_negatives_are_those_furthest_before_what_is_relevant(task, before):
    run = {
        "a": {"2": 0.9, "1": 0.8},
        "b": {"2": 0.9, "1": 0.3},
        "c": {"1": 0.9, "2": 0.8},  # right
        "d": {"2": 0.9},  # the relevant one was not found
    }
    found = hardest_negatives(task, before.model_copy(update={"run": run}))
    assert [hard.question for hard in found] == ["b?", "a?", "d?"]
    assert [hard.margin for hard in found] == [pytest.approx(0.6), pytest.approx(0.1), None]
    assert (found[0].negative.rank, found[0].negative.title, found[0].negative.excerpt) == (1, "2", "two")
    assert [hard.relevant.rank for hard in found] == [2, 2, None]
    assert found[0].relevant.title == "One"


def test_pairs_worth_a_look_are_those_that_a_model_misplaced_most(tmp_path):
    path = tmp_path / "pairs.jsonl"
    records = [("a", 1), ("b", 1), ("c", 0), ("d", 0)]
    path.write_text(
        "".join(f'{{"anchor": "{a}", "positive": "x", "label": {label}}}\n' for a, label in records)
    )
    task = read_pair_task(path)

    def result(label, *scores):
        return PairResult(label=label, task="t", metrics={}, scores=scores, num_pairs=4, seconds=0)

    good, bad = result("good", 0.9, 0.8, 0.2, 0.1), result("bad", 0.1, 0.8, 0.9, 0.2)
    losses = pair_changes(task, [good, bad], num_each=1)
    assert (losses[0].anchor, losses[0].note) == ("a", "loss")
    assert losses[0].scores == {"good": 0.9, "bad": 0.1}
    assert [example.note for example in pair_changes(task, [bad, good], num_each=1)] == ["gain"]
    assert pair_changes(task, [bad], num_each=1)[0].anchor in {"a", "c"}


def test_provenance_is_told_line_by_line():
    training = {
        "loss": {"name": "infonce", "scale": 20},
        "datasets": [{"path": "a.jsonl", "licence": ""}, {"path": "b.jsonl", "licence": "CC0"}],
        "scores": {"positives": {"mean": 0.5}},
        "seed": 0,
        "layers": [1, 2],
        "empty": {},
    }
    assert describe_training(training) == {
        "loss": "name infonce, scale 20",
        "datasets 1": "path a.jsonl",
        "datasets 2": "path b.jsonl, licence CC0",
        "scores": "positives (mean 0.5)",
        "seed": "0",
        "layers": "1, 2",
    }


def test_some_queries_can_be_compared_alone(before, after):
    row = comparison_row(after, before, "mrr@10", queries=["a", "b"], on="those")
    assert (row.on, row.comparison.num_queries, row.comparison.difference.mean) == ("those", 2, 0.0)


def test_a_document_that_the_corpus_lacks_is_said(task, before):
    stale = before.model_copy(update={"run": {"a": {"gone": 1.0}}})
    (example,) = build_examples(task, [stale], {"a": ""})
    assert example.results[0].documents[0].excerpt == "(not in the corpus)"
    assert example.results[0].first_relevant_rank is None


@pytest.mark.parametrize(
    ("mode", "asked"), [("dense", {"vectors"}), ("bm25", {"texts"}), ("hybrid", {"texts", "vectors"})]
)
def test_an_index_is_asked_by_vectors_words_or_both(mode, asked):
    class Encoder:
        def encode_queries(self, texts):
            return [f"vector of {text}" for text in texts]

    class Found:
        def __init__(self, id, score):
            self.id, self.score = id, score

    class Index:
        def search_many(self, *, queries=None, query_embeddings=None, top_k, filters, with_content):
            self.asked = set()
            if queries is not None:
                assert queries == ["q"]
                self.asked.add("texts")
            if query_embeddings is not None:
                assert query_embeddings == ["vector of q"]
                self.asked.add("vectors")
            assert (top_k, filters, with_content) == (7, {"field": "meta.lang"}, False)
            return [[Found("a", 2.0), Found("b", None)]]

    index = Index()
    search = index_search(index, Encoder(), mode, filters={"field": "meta.lang"})
    assert search(["q"], 7) == [[("a", 2.0), ("b", 0.0)]]
    assert index.asked == asked
