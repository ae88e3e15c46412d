"""Contrastive losses: pure functions of tensors, each with a small configurable object around it.

positives and negatives      InfoNCE, GISTEmbed, Triplet, BatchHardTriplet, BatchSemiHardTriplet
graded or labelled pairs     CoSENT, AnglE, CosineSimilarity, Contrastive, OnlineContrastive
text alone                   SimCSE
a teacher                    MarginMSE, DistillKL, EmbeddingDistillation
around any of them           Matryoshka
"""

import inspect
from typing import Any

from cl_haystack.errors import ConfigurationError
from cl_haystack.training.losses.angle import AnglE, angle_similarity
from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.batch_triplet import (
    BatchHardTriplet,
    BatchSemiHardTriplet,
    batch_hard_triplet,
    batch_semi_hard_triplet,
)
from cl_haystack.training.losses.contrastive import (
    Contrastive,
    OnlineContrastive,
    contrastive,
    online_contrastive,
)
from cl_haystack.training.losses.cosent import CoSENT, cosent
from cl_haystack.training.losses.cosine import CosineSimilarity, cosine_similarity
from cl_haystack.training.losses.embedding_distillation import EmbeddingDistillation, embedding_distillation
from cl_haystack.training.losses.gist import GISTEmbed, gist_embed
from cl_haystack.training.losses.info_nce import InfoNCE, info_nce
from cl_haystack.training.losses.kl import DistillKL, distill_kl
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.margin_mse import MarginMSE, margin_mse
from cl_haystack.training.losses.matryoshka import Matryoshka
from cl_haystack.training.losses.simcse import SimCSE
from cl_haystack.training.losses.triplet import Triplet, triplet

__all__ = [
    "LOSSES",
    "AnglE",
    "Batch",
    "BatchHardTriplet",
    "BatchSemiHardTriplet",
    "CoSENT",
    "Contrastive",
    "CosineSimilarity",
    "DistillKL",
    "EmbeddingDistillation",
    "GISTEmbed",
    "InfoNCE",
    "Loss",
    "MarginMSE",
    "Matryoshka",
    "OnlineContrastive",
    "SimCSE",
    "Triplet",
    "angle_similarity",
    "batch_hard_triplet",
    "batch_semi_hard_triplet",
    "contrastive",
    "cosent",
    "cosine_similarity",
    "distill_kl",
    "embedding_distillation",
    "gist_embed",
    "info_nce",
    "loss_named",
    "margin_mse",
    "online_contrastive",
    "triplet",
]

LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        InfoNCE,
        GISTEmbed,
        Triplet,
        BatchHardTriplet,
        BatchSemiHardTriplet,
        CoSENT,
        AnglE,
        CosineSimilarity,
        Contrastive,
        OnlineContrastive,
        SimCSE,
        MarginMSE,
        DistillKL,
        EmbeddingDistillation,
    )
}
"""The losses by their names on the command line. Matryoshka wraps one of them and is no choice of its own."""


def loss_named(name: str, **options: Any) -> Loss:
    """Make a loss by its name on the command line.

    :param name: a key of :data:`LOSSES`.
    :param **options: its options; see its class.
    :returns: the loss.
    :raises ConfigurationError: there is no such loss, it has no such option, or an option cannot work.
    """
    if name not in LOSSES:
        raise ConfigurationError(f"loss is {name!r}, expected one of {', '.join(LOSSES)}")
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    if unknown := sorted(set(options) - set(known)):
        raise ConfigurationError(
            f"loss {name!r} has no option {', '.join(map(repr, unknown))}; its options are "
            f"{', '.join(known) or 'none'}"
        )
    return LOSSES[name](**options)
