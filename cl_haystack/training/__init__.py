"""Contrastive fine-tuning (needs the extra [train]): losses, batches, the trainer, the checkpoint.

Names are imported when first used: export reads a checkpoint with torch and transformers alone.
"""

from typing import TYPE_CHECKING

from cl_haystack.errors import MissingExtraError
from cl_haystack.lazy import lazy_names

try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError as missing:
    raise MissingExtraError(missing.name or "torch", "train") from missing

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        "ContrastiveTrainer": "cl_haystack.training.trainer",
        "Recipe": "cl_haystack.training.recipe",
        "SentenceEncoder": "cl_haystack.training.model",
        "TrainingConfig": "cl_haystack.training.config",
        "TrainingReport": "cl_haystack.training.report",
        "TrainingSet": "cl_haystack.training.training_set",
        "positives_of": "cl_haystack.training.recipe",
    },
)
