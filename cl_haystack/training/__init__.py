"""Contrastive fine-tuning (needs the extra [train]): losses, batches, the trainer, the checkpoint."""

from cl_haystack.errors import MissingExtraError

try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError as missing:
    raise MissingExtraError(missing.name or "torch", "train") from missing

from cl_haystack.training import losses
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.model import SentenceEncoder
from cl_haystack.training.recipe import Recipe, positives_of
from cl_haystack.training.report import TrainingReport
from cl_haystack.training.trainer import ContrastiveTrainer
from cl_haystack.training.training_set import TrainingSet

__all__ = [
    "ContrastiveTrainer",
    "Recipe",
    "SentenceEncoder",
    "TrainingConfig",
    "TrainingReport",
    "TrainingSet",
    "losses",
    "positives_of",
]
