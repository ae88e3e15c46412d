"""Distillation by KL: over a row's own candidates, the student shall spread its trust as the teacher does."""

import math
from typing import Any

import torch
from torch import Tensor

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero, one_of
from cl_haystack.training.losses.rows import check_rows, own_negatives, weighted_mean
from cl_haystack.training.losses.similarity import SIMILARITIES, Similarity
from cl_haystack.training.losses.teacher import student_scores, teacher_scores


def distill_kl(student: Tensor, teacher: Tensor, batch: Batch, *, scale: float = 1.0) -> Tensor:
    """Weighted mean over rows of ``KL(teacher || student) / scale²``, over each row's own candidates.

    Both distributions are softmaxes of ``scale * scores`` over the row's positive and its hard negatives,
    any number a row. Dividing by ``scale²`` keeps gradients of about the same size at any scale.

    :param student: score of each candidate for its owner, ``(candidates,)``.
    :param teacher: the same by the teacher, ``(candidates,)``.
    :param batch: with the owners of the candidates, and weights.
    :param scale: inverse temperature, > 0.
    :returns: scalar, in nats over ``scale²``; 0 when student and teacher differ by a constant a row.
    :raises DataError: there is no hard negative.

    Source: Hinton et al. 2015, arXiv:1503.02531; for retrieval Lin et al. 2020, arXiv:2010.11386. Equals
    sentence-transformers' ``DistillKLDivLoss``.
    """
    own_negatives(batch)
    student_logs = _own_log_softmax(scale * student, batch)  # (candidates,)
    teacher_logs = _own_log_softmax(scale * teacher.to(student.dtype), batch)  # (candidates,)
    terms = teacher_logs.exp() * (teacher_logs - student_logs)  # (candidates,)
    divergences = terms.new_zeros(batch.num_anchors).index_add(0, batch.owners, terms)  # (batch,)
    return weighted_mean(divergences, batch.weights) / scale**2


def _own_log_softmax(logits: Tensor, batch: Batch) -> Tensor:
    """Return the logarithm of each candidate's share among its row's own candidates, ``(candidates,)``."""
    rows = torch.arange(batch.num_anchors, device=logits.device)[:, None]
    table = torch.where(rows == batch.owners, logits, -math.inf)  # (batch, candidates)
    return table.log_softmax(dim=1).gather(0, batch.owners[None])[0]  # (candidates,)


class DistillKL(Loss):
    """KL distillation against a teacher's scores, or a guide model's similarities.

    :param scale: as for :func:`distill_kl`.
    :param similarity: how the student scores: dot product, or cosine.
    :raises ConfigurationError: an option that cannot work.
    """

    name = "kl"
    requires = frozenset({"negatives"})
    uses = frozenset({"candidate_scores"})
    needs_guide = True
    learns_from_guide = True

    def __init__(self, *, scale: float = 1.0, similarity: Similarity = "dot") -> None:
        super().__init__()
        self.scale = above_zero("scale", scale, 1)
        one_of("similarity", similarity, SIMILARITIES)
        self.similarity: Similarity = similarity

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        student = student_scores(anchors, candidates, batch, self.similarity)  # (candidates,)
        return distill_kl(student, teacher_scores(batch), batch, scale=self.scale)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {
            "name": self.name,
            "scale": self.scale,
            "temperature": 1 / self.scale,
            "similarity": self.similarity,
        }
