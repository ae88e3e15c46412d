"""A smaller corpus: all that is judged, a sample of the rest, the same questions."""

import json

import pytest

from cl_haystack.data import RetrievalTask, pool_task


@pytest.fixture
def task(tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        "\n".join(json.dumps({"_id": f"d{i}", "title": "t", "text": f"text {i}"}) for i in range(50))
    )
    return RetrievalTask(
        "made", corpus, 50, {"q1": "?", "q2": "!"}, {"q1": {"d1": 1, "d2": 0}, "q2": {"d40": 2}}
    )


def ids(task):
    return [document.id for document in task.corpus()]


def test_judged_documents_stay_and_others_are_sampled(task, tmp_path):
    pool = pool_task(task, tmp_path / "pool.jsonl", num_documents=10)
    assert pool.num_documents == len(ids(pool)) == 10
    assert {"d1", "d2", "d40"} <= set(ids(pool)) < set(ids(task))
    assert (pool.queries, pool.qrels) == (task.queries, task.qrels)
    assert list(pool.corpus()) == [document for document in task.corpus() if document.id in set(ids(pool))]
    again = pool_task(task, tmp_path / "again.jsonl", num_documents=10)
    assert ids(again) == ids(pool)
    assert ids(pool_task(task, tmp_path / "other.jsonl", num_documents=10, seed=1)) != ids(pool)


def test_fewer_places_than_judged_documents_keep_all_judged(task, tmp_path):
    assert ids(pool_task(task, tmp_path / "pool.jsonl", num_documents=1)) == ["d1", "d2", "d40"]


def test_a_corpus_that_is_small_enough_is_left_alone(task, tmp_path):
    assert pool_task(task, tmp_path / "pool.jsonl", num_documents=50) is task
    assert not (tmp_path / "pool.jsonl").exists()
