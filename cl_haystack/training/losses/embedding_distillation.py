"""Embedding distillation: a text's embedding shall be the teacher's embedding of the same text."""

from typing import Any, Literal

import torch
from torch import Tensor

from cl_haystack.errors import DataError
from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import one_of
from cl_haystack.training.losses.rows import check_rows, weighted_mean
from cl_haystack.training.losses.similarity import pair_distance, widen
from cl_haystack.training.losses.teacher import guide_vectors

Discrepancy = Literal["cosine", "mse"]


def embedding_distillation(
    student: Tensor, teacher: Tensor, weights: Tensor | None = None, *, distance: Discrepancy = "cosine"
) -> Tensor:
    """Weighted mean over texts of ``1 - cosine``, or of the mean squared difference of coordinates.

    :param student: ``(texts, dim)``.
    :param teacher: ``(texts, teacher_dim)``; of more dimensions than the student's the first ``dim`` count,
        which hold most where the teacher is a Matryoshka model.
    :param weights: ``(texts,)``, > 0, or None.
    :param distance: ``cosine`` (0 to 2), or ``mse``.
    :returns: scalar.
    :raises DataError: the teacher has fewer dimensions, or another number of texts.

    Source: Reimers & Gurevych 2020, arXiv:2004.09813, eq. 1 (mse). Equals sentence-transformers'
    ``EmbedDistillLoss`` and ``MSELoss``.
    """
    if len(student) != len(teacher) or student.shape[-1] > teacher.shape[-1]:
        raise DataError(
            f"embeddings are {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}; expected as "
            "many texts, and a teacher of at least as many dimensions; use another teacher, or margin-mse or "
            "kl, which compare scores"
        )
    student = widen(student)  # (texts, dim)
    teacher = teacher[:, : student.shape[-1]].to(student.dtype)  # (texts, dim)
    if distance == "cosine":
        return weighted_mean(pair_distance(student, teacher, "cosine"), weights)
    return weighted_mean((student - teacher).square().mean(dim=-1), weights)


class EmbeddingDistillation(Loss):
    """Distance of all anchors and candidates from the teacher's vectors; each text counts the same.

    :param distance: as for :func:`embedding_distillation`.
    :raises ConfigurationError: another distance.
    """

    name = "embedding-distillation"
    uses = frozenset({"negatives"})
    needs_guide = True
    learns_from_guide = True

    def __init__(self, *, distance: Discrepancy = "cosine") -> None:
        super().__init__()
        one_of("distance", distance, ("cosine", "mse"))
        self.distance: Discrepancy = distance

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        weights = None if batch.weights is None else torch.cat([batch.weights, batch.weights[batch.owners]])
        return embedding_distillation(
            torch.cat([anchors, candidates]),
            torch.cat(guide_vectors(batch)),
            weights,
            distance=self.distance,
        )

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "distance": self.distance}
