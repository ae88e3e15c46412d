"""Margin-MSE: the student shall prefer the positive to a negative by as much as the teacher does."""

from typing import Any

from torch import Tensor

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import one_of
from cl_haystack.training.losses.rows import check_rows, own_negatives, weighted_mean
from cl_haystack.training.losses.similarity import SIMILARITIES, Similarity
from cl_haystack.training.losses.teacher import student_scores, teacher_scores


def margin_mse(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    """Weighted mean over hard negatives of the squared difference of the two margins.

    A margin is ``score(anchor, own positive) - score(anchor, negative)``.

    :param student: score of each candidate for its owner, ``(candidates,)``.
    :param teacher: the same by the teacher, ``(candidates,)``, in the same unit: unit vectors reach margins
        up to 2 only, so scale a cross-encoder's logits to that before.
    :param batch: with the owners of the candidates; weights count for each negative of a row.
    :returns: scalar, in squared units of the scores.
    :raises DataError: there is no hard negative.

    Source: Hofstätter et al. 2020, arXiv:2010.02666, eq. 7. Equals sentence-transformers' ``MarginMSELoss``.
    """
    owners, negatives = own_negatives(batch)  # (negatives,)
    student_margins = student[owners] - student[negatives]  # (negatives,)
    teacher_margins = (teacher[owners] - teacher[negatives]).to(student.dtype)  # (negatives,)
    weights = None if batch.weights is None else batch.weights[owners]
    return weighted_mean((student_margins - teacher_margins).square(), weights)


class MarginMSE(Loss):
    """Margin-MSE against a teacher's scores, or a guide model's similarities.

    :param similarity: how the student scores: dot product, as in the paper, or cosine.
    :raises ConfigurationError: another similarity.
    """

    name = "margin-mse"
    requires = frozenset({"negatives"})
    uses = frozenset({"candidate_scores"})
    needs_guide = True
    learns_from_guide = True

    def __init__(self, *, similarity: Similarity = "dot") -> None:
        super().__init__()
        one_of("similarity", similarity, SIMILARITIES)
        self.similarity: Similarity = similarity

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar."""
        check_rows(anchors, candidates, batch)
        student = student_scores(anchors, candidates, batch, self.similarity)  # (candidates,)
        return margin_mse(student, teacher_scores(batch), batch)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "similarity": self.similarity}
