import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cl_haystack.data import RetrievalTask
from cl_haystack.data.lines import Faults
from cl_haystack.encoder import exact_search
from cl_haystack.errors import ConfigurationError, DataError, EncodingError
from cl_haystack.evaluation import (
    RetrievalResult,
    evaluate_retrieval,
    evaluate_search,
    retrieval,
    write_run,
)
from cl_haystack.evaluation.runs import read_run


class LetterEncoder:
    """Counts letters; another direction for documents would show if the two were mixed up."""

    def __init__(self):
        self.calls = []

    def encode_queries(self, texts, *, on_progress=None):
        self.calls.append(("queries", len(texts)))
        return self._encode(texts, on_progress)

    def encode_documents(self, texts, *, on_progress=None):
        self.calls.append(("documents", len(texts)))
        return self._encode(texts, on_progress)

    def _encode(self, texts, on_progress):
        from cl_haystack.progress import Progress

        if on_progress:
            on_progress(Progress(len(texts), len(texts)))
        return np.array([[text.count(letter) for letter in "abcxyz"] for text in texts], dtype=np.float32)


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(
            f'{{"_id": "d{i}", "text": "{text}"}}\n' for i, text in enumerate(["a", "bb", "ab", "xx", ""])
        )
    )
    qrels = {"q1": {"d0": 1}, "q2": {"d1": 1}, "q3": {"d4": 1}}
    return RetrievalTask("toy/test", path, 5, {"q1": "a", "q2": "b", "q3": "y"}, qrels)


def test_an_encoder_is_evaluated_by_exact_search(task):
    result = evaluate_retrieval(task, LetterEncoder(), label="letters", top_k=2, ks=(1, 2))
    assert result.run == {
        "q1": {"d2": 1.0, "d0": 1.0},
        "q2": {"d1": 2.0, "d2": 1.0},
        "q3": {"d4": 0.0, "d3": 0.0},
    }
    assert list(result.run["q1"]) == ["d2", "d0"]  # a tie: the larger id first
    assert result.metrics["success@1"] == pytest.approx(2 / 3)
    assert result.per_query["q1"]["mrr@2"] == 0.5
    assert (result.num_queries, result.num_documents, result.top_k, result.task) == (3, 5, 2, "toy/test")
    assert result.latency is None
    assert result.seconds > 0


def test_windows_and_progress(task, monkeypatch):
    whole = evaluate_retrieval(task, LetterEncoder(), top_k=3, ks=(3,))
    monkeypatch.setattr(retrieval, "_WINDOW_DOCUMENTS", 2)
    monkeypatch.setattr(exact_search, "_QUERY_BLOCK", 2)
    encoder, told = LetterEncoder(), []
    parts = evaluate_retrieval(task, encoder, top_k=3, ks=(3,), on_progress=told.append)
    assert encoder.calls == [("queries", 3), ("documents", 2), ("documents", 2), ("documents", 1)]
    assert [(step.done, step.total) for step in told] == [(3, 8), (5, 8), (7, 8), (8, 8)]
    assert (parts.run, parts.metrics) == (whole.run, whole.metrics)


def test_a_search_function_is_asked_one_query_at_a_time_and_timed(task):
    asked, told = [], []

    def search(queries, top_k):
        asked.append((queries, top_k))
        time.sleep(0.002)
        return [[("d0", 2.0), ("d1", 1.0), ("d2", 0.5)]]

    result = evaluate_search(task, search, label="live", top_k=2, ks=(2,), on_progress=told.append)
    assert asked == [(["a"], 2), (["b"], 2), (["y"], 2)]
    assert result.run["q3"] == {"d0": 2.0, "d1": 1.0}  # no more than was asked for
    assert result.metrics["mrr@2"] == 0.5
    assert result.latency.p95_ms >= result.latency.p50_ms >= 2
    assert [step.done for step in told] == [1, 2, 3]


def test_an_empty_answer_scores_zero(task):
    result = evaluate_search(task, lambda queries, top_k: [[]], label="none", ks=(10,))
    assert set(result.metrics.values()) == {0.0}
    assert result.num_queries == len(result.per_query) == 3


def test_a_cut_off_above_top_k_is_refused(task):
    for evaluate in (
        lambda: evaluate_retrieval(task, LetterEncoder(), top_k=10, ks=(100,)),
        lambda: evaluate_search(task, lambda queries, top_k: [[]], label="x", top_k=10, ks=(100,)),
    ):
        with pytest.raises(ConfigurationError, match="top_k is 10"):
            evaluate()


def test_vectors_that_are_not_finite_are_refused(task):
    class Broken(LetterEncoder):
        def encode_documents(self, texts, *, on_progress=None):
            return np.full((len(texts), 6), np.nan, dtype=np.float32)

    with pytest.raises(EncodingError, match="NaN or infinity for 5 texts"):
        evaluate_retrieval(task, Broken(), ks=(10,))


def test_a_result_survives_its_file(task, tmp_path):
    result = evaluate_search(task, lambda queries, top_k: [[("d0", 0.1 + 0.2)]], label="ü", ks=(10,))
    result.to_json(tmp_path / "new" / "result.json")
    again = RetrievalResult.from_json(tmp_path / "new" / "result.json")
    assert again == result
    assert again.run["q1"]["d0"] == 0.1 + 0.2
    assert list(again.run) == list(result.run)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"label": 1}'])
def test_a_broken_result_file_is_named(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"result\.json: is no evaluation result"):
        RetrievalResult.from_json(path)
    with pytest.raises(DataError, match="cannot be read"):
        RetrievalResult.from_json(tmp_path / "none.json")


def test_a_run_file_is_what_trec_eval_reads(tmp_path):
    import pytrec_eval

    run = {"q1": {"a": 0.1, "b": 2.0, "c": 2.0}, "q2": {"a": -1.0}}
    write_run(tmp_path / "run.txt", run, label="my system")
    lines = (tmp_path / "run.txt").read_text().splitlines()
    assert lines[0] == "q1 Q0 c 1 2.0 my_system"
    assert pytrec_eval.parse_run(lines) == run


RUN_IDS = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(RUN_IDS, st.dictionaries(RUN_IDS, st.floats(-1e9, 1e9), min_size=1), min_size=1))
def test_a_run_comes_back_from_its_file(tmp_path, run):
    write_run(tmp_path / "run.trec", run, label="a  system")
    assert read_run(tmp_path / "run.trec") == (run, "a_system")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file holds no line of a run; expected 'query Q0 document"),
        (
            "q1 Q0 d1 1 0.5\n",
            r"run:1: found 'q1 Q0 d1 1 0\.5'; expected 'query Q0 document rank score label'",
        ),
        (
            "q1 Q0 d1 1 0.5 x\nq1 Q0 d1 2 0.4 x\n",
            "run:2: document 'd1' is there a second time for query 'q1'",
        ),
        ("q1 Q0 d1 1 high x\n", "score 'high'; expected a number"),
        ("q1 Q0 d1 1 nan x\n", "score 'nan'; expected a number"),
    ],
)
def test_a_broken_run_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "run").write_text(content)
    with pytest.raises(DataError, match=message):
        read_run(tmp_path / "run")


def test_a_run_is_read_on_behind_broken_lines(tmp_path):
    lines = ["x", "q1 Q0 d1 1 0.5 a", "q1 Q0 d2 2 nan a", "q1 Q0 d1 3 0.4 a", "", "q2 Q0 d1 1 0.1 a"]
    (tmp_path / "run").write_text("\n".join(lines), encoding="utf-8")
    faults = Faults()
    assert read_run(tmp_path / "run", faults) == ({"q1": {"d1": 0.5}, "q2": {"d1": 0.1}}, "a")
    assert [fault[:6] for fault in faults.first] == ["line 1", "line 3", "line 4"]
    (tmp_path / "run").write_text("x\ny\n")
    with pytest.raises(DataError, match="holds no line of a run"):
        read_run(tmp_path / "run", faults)


def test_a_run_file_refuses_ids_that_it_cannot_hold(tmp_path):
    for run in ({"q": {"a b": 1.0}}, {"q ": {"a": 1.0}}, {"q": {"": 1.0}}):
        with pytest.raises(DataError, match="white space"):
            write_run(tmp_path / "run.txt", run, label="x")
    assert list(tmp_path.iterdir()) == []
