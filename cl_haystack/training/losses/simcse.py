"""SimCSE: a text's positive is itself, embedded again with other dropout. Needs text and nothing else."""

from typing import Any

from torch import Tensor

from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.info_nce import info_nce
from cl_haystack.training.losses.loss import Loss
from cl_haystack.training.losses.options import above_zero
from cl_haystack.training.losses.similarity import unit


class SimCSE(Loss):
    """InfoNCE from each text to the second embeddings of all texts of the batch, by cosine.

    The two embeddings differ by dropout alone, so the model must be in training mode with dropout above 0,
    and the two runs must draw their own. The loss is ``-log(exp(scale * cos(a_i, p_i)) / sum_j exp(scale *
    cos(a_i, p_j)))``, in nats: ``log(batch)`` when every similarity is equal. Hard negatives, where there are
    some, are further wrong answers.

    :param scale: inverse temperature, > 0; the paper's temperature of 0.05 by default.
    :raises ConfigurationError: ``scale`` is not above 0.

    Source: Gao et al. 2021, arXiv:2104.08821, eq. 4. Equals sentence-transformers'
    ``MultipleNegativesRankingLoss`` on pairs of equal texts.
    """

    name = "simcse"
    uses = frozenset({"negatives"})
    in_batch_negatives = True
    positive_is_anchor = True

    def __init__(self, *, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = above_zero("scale", scale, 20)

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch, a scalar in nats."""
        return info_nce(
            unit(anchors), unit(candidates), batch, scale=self.scale, directions=("query_to_doc",)
        )

    def describe(self) -> dict[str, Any]:
        """Return name and parameters."""
        return {"name": self.name, "scale": self.scale, "temperature": 1 / self.scale}
