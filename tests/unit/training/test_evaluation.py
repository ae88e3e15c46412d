"""Measured during training: the best weights are kept, and a run without gain ends early."""

from pathlib import Path

import pytest

from cl_haystack.data import RetrievalTask
from cl_haystack.evaluation import evaluate_retrieval
from cl_haystack.progress import Progress
from cl_haystack.training import ContrastiveTrainer
from tests.unit.training.runs import PAIRS, WreckWeights, changed, pairs_to_learn


def test_the_best_weights_of_all_evaluations_are_kept(checkpoint: Path, task: RetrievalTask) -> None:
    seen: list[Progress] = []
    config = changed(num_epochs=6, batch_size=10, evaluations=6)
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=[WreckWeights(9)])
    report = trainer.train(pairs_to_learn(20), task=task, on_progress=seen.append)
    assert [each["step"] for each in report.evaluations] == [2, 4, 6, 8, 10, 12]
    measured = [each["ndcg@10"] for each in report.evaluations]
    assert measured[0] < max(measured[:4]) > 0.1 + max(measured[4:])
    assert evaluate_retrieval(task, trainer.encoder).metrics["ndcg@10"] == pytest.approx(max(measured))
    assert {"recall@100", "mrr@10", "map@100"} <= report.evaluations[0].keys()
    assert "nDCG@10" not in seen[1].note
    assert f"nDCG@10 {measured[0]:.3f}, " in seen[2].note
    assert f"nDCG@10 {measured[4]:.3f}, " in seen[-1].note
    assert report.steps == 12


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"), [(10, 3, [4, 7, 10]), (2, 3, [1, 2]), (4, 1, [4])]
)
def test_evaluations_are_spread_evenly_and_the_last_is_at_the_end(
    checkpoint: Path, task: RetrievalTask, steps: int, evaluations: int, expected: list[int]
) -> None:
    config = changed(num_epochs=steps, batch_size=4, evaluations=evaluations)
    report = ContrastiveTrainer(checkpoint, config=config).train(PAIRS, task=task)
    assert [each["step"] for each in report.evaluations] == expected


def test_patience_ends_training_early(checkpoint: Path, task: RetrievalTask) -> None:
    config = changed(num_epochs=6, batch_size=10, evaluations=12, patience=3)
    trainer = ContrastiveTrainer(checkpoint, config=config, callbacks=[WreckWeights(6)])
    report = trainer.train(pairs_to_learn(20), task=task)
    measured = [each["ndcg@10"] for each in report.evaluations]
    assert report.steps == len(measured) < 12
    assert 0 < measured.index(max(measured)) == len(measured) - 4
    assert evaluate_retrieval(task, trainer.encoder).metrics["ndcg@10"] == pytest.approx(max(measured))
