"""Measuring a model during training, as it would come out: averaged with its base, in the run's precision."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from cl_haystack.data import RetrievalTask, pool_task
from cl_haystack.training.averaging import Weights, averaged
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.model import SentenceEncoder

Evaluate = Callable[[], dict[str, float]]
"""Measures the encoder as it is now."""


def make_evaluation(
    encoder: SentenceEncoder,
    task: RetrievalTask,
    folder: Path,
    config: TrainingConfig,
    *,
    base: Weights,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Evaluate:
    """Return what measures an encoder, on few enough documents to do it often.

    :param encoder: the encoder that is trained.
    :param task: questions with known answers.
    :param folder: where the documents that are searched are kept.
    :param config: how many documents, and the base model's share.
    :param base: the base model's weights, where it has a share.
    :param autocast: the precision.
    :returns: a function that gives the metrics by name.
    """
    sample = pool_task(task, folder / "evaluation-corpus.jsonl", num_documents=config.evaluation_documents)

    def measure() -> dict[str, float]:
        from cl_haystack.evaluation import evaluate_retrieval

        with averaged(encoder, base, config.base_weight or 0.0), autocast():
            return evaluate_retrieval(sample, encoder).metrics

    return measure
