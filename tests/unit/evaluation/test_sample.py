"""The sample of a task's texts: what is in it, what it says of scores, where its texts lie on a map."""

import json

import numpy as np
import pytest

from cl_haystack.data import RetrievalTask
from cl_haystack.evaluation import evaluate_search
from cl_haystack.evaluation.sample import (
    SampleVectors,
    draw_sample,
    encode_sample,
    score_distribution,
    text_map,
)


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": f"d{i:04}", "text": f"text {i}"}) + "\n" for i in range(900)))
    qrels = {f"q{i:03}": {f"d{i:04}": 1, f"d{i + 300:04}": 0, "gone": 1} for i in range(200)}
    return RetrievalTask("toy/test", path, 900, {query: f"question {query}" for query in qrels}, qrels)


@pytest.fixture
def result(task):
    def search(queries, top_k):
        number = int(queries[0][-3:])
        return [[(f"d{number:04}", 1.0), (f"d{number + 600:04}", 0.5)]]

    return evaluate_search(task, search, label="x", ks=(10,))


def test_a_sample_holds_answers_wrong_answers_and_a_random_rest(task, result):
    sample = draw_sample(task, [result])
    assert (len(sample.queries), len(sample.documents)) == (150, 600)
    for query in sample.queries:
        assert {f"d{int(query[1:]):04}", f"d{int(query[1:]) + 600:04}"} <= sample.documents.keys()
    queries, documents = list(sample.queries), list(sample.documents)
    assert [(queries[q], documents[d]) for q, d in sample.links] == [
        (q, f"d{int(q[1:]):04}") for q in queries
    ]
    assert draw_sample(task, [result]) == sample
    assert draw_sample(task, [result], seed=1) != sample


def test_a_small_task_is_taken_whole(task, result):
    small = RetrievalTask("toy/test", task.corpus_path, 900, {"q000": "?"}, {"q000": {"d0000": 1}})
    sample = draw_sample(small, [])
    assert (len(sample.queries), len(sample.documents)) == (1, 600)


def test_scores_are_told_apart_by_relevance(task, result):
    sample = draw_sample(task, [result])

    class Encoder:
        def encode_queries(self, texts, *, on_progress=None):
            return np.tile(np.array([1.0, 0.0], dtype=np.float32), (len(texts), 1))

        def encode_documents(self, texts, *, on_progress=None):
            numbers = np.array([int(text.split()[1]) for text in texts], dtype=np.float32)
            return np.stack([numbers / 900, np.ones(len(texts))], axis=1).astype(np.float32)

    vectors = encode_sample(sample, Encoder(), "x")
    groups = score_distribution(sample, vectors).groups
    numbers = np.array([int(document[1:]) for document in sample.documents])
    assert sorted(groups["question and relevant document"]) == pytest.approx(
        sorted(int(query[1:]) / 900 for query in sample.queries)
    )
    assert groups["question and nearest other document"] == pytest.approx([numbers.max() / 900] * 150)
    assert len(groups["question and any other document"]) == 150 * 600 - 150


def test_a_map_keeps_what_two_dimensions_can_hold():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 8))  # a plane in eight dimensions
    vectors = SampleVectors("x", flat[:10].astype(np.float32), flat[10:].astype(np.float32))

    class Sample:
        links = ((0, 1), (9, 19))

    found = text_map(Sample, vectors)
    placed = np.concatenate([found.queries, found.documents])

    def distances(points):
        return np.linalg.norm(points[:, None] - points[None], axis=2)

    np.testing.assert_allclose(distances(placed), distances(flat), atol=1e-4)
    assert found.explained == pytest.approx(1)
    assert found.links == [(0, 1), (9, 19)]
    alike = SampleVectors("x", np.ones((2, 1), np.float32), np.ones((20, 1), np.float32))
    assert text_map(Sample, alike).explained == 0
