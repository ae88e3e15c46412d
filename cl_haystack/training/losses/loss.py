"""What every loss is to the trainer: a module that turns embeddings into a scalar and says what it needs."""

from typing import Any, ClassVar

from torch import Tensor, nn

from cl_haystack.training.losses.batch import Batch


class Loss(nn.Module):
    """A function of embeddings with its own parameters.

    A loss knows no model and no text, so any of them works on embeddings that were computed in chunks
    (GradCache), gathered from several devices, or cut to a Matryoshka dimension. What it needs is stated by
    its class; a loss around another one (Matryoshka) takes over what that one states.
    """

    name: ClassVar[str]
    """As on the command line and in a checkpoint's record."""
    requires: frozenset[str] = frozenset()
    """Columns that every pair must have, of ``negatives``, ``score``, ``label``, ``candidate_scores``."""
    uses: frozenset[str] = frozenset()
    """Columns it makes use of where they are there; any other column in the pairs is an error."""
    in_batch_negatives: bool = False
    """Whether other rows count as negatives: then no text may stand in a batch twice, and one row teaches
    nothing."""
    needs_guide: bool = False
    """Whether the batch must hold the embeddings of a guide or teacher model. A loss that also uses
    ``candidate_scores`` takes these instead where they are there."""
    learns_from_guide: bool = False
    """Whether what the guide thinks is the target: a model that is its own guide learns nothing then."""
    weighted: bool = True
    """Whether it honours the weights of rows; a loss that compares pairs of rows does not."""
    positive_is_anchor: bool = False
    """Whether the positive is the anchor's own text, embedded a second time with other dropout."""

    def forward(self, anchors: Tensor, candidates: Tensor, batch: Batch) -> Tensor:
        """Return the loss of one batch.

        :param anchors: ``(batch, dim)``, of any floating type, not necessarily of unit length.
        :param candidates: ``(candidates, dim)``: positives first, in the order of the anchors.
        :param batch: what else is known of the rows.
        :returns: scalar.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return name and parameters in plain types, for the checkpoint's record of the training run."""
        raise NotImplementedError
