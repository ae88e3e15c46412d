"""What a teacher thinks of the candidates: its scores where the data has them, else its cosines."""

from torch import Tensor

from cl_haystack.errors import DataError
from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.losses.similarity import Similarity, pair_similarity, widen


def guide_vectors(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the vectors of anchors and candidates by the guide or teacher model, of any length.

    :param batch: with guide vectors.
    :returns: ``(batch, guide_dim)`` and ``(candidates, guide_dim)``, in at least float32.
    :raises DataError: it has none.
    """
    if batch.guide_anchors is None or batch.guide_candidates is None:
        raise DataError("this loss needs the vectors of a guide model, which the batch lacks; name a guide")
    return widen(batch.guide_anchors), widen(batch.guide_candidates)


def teacher_scores(batch: Batch) -> Tensor:
    """Return the teacher's score of each candidate for the anchor it was given for.

    :param batch: with ``candidate_scores``, or else with guide vectors.
    :returns: ``(candidates,)``.
    :raises DataError: it has neither.
    """
    if batch.candidate_scores is not None:
        return widen(batch.candidate_scores)
    if batch.guide_anchors is None:
        raise DataError(
            "this loss needs a teacher, which the batch lacks; add 'candidate_scores' to every pair, or name "
            "a guide model"
        )
    anchors, candidates = guide_vectors(batch)
    return pair_similarity(anchors[batch.owners], candidates, "cosine")


def student_scores(anchors: Tensor, candidates: Tensor, batch: Batch, similarity: Similarity) -> Tensor:
    """Return the similarity of each candidate to the anchor it was given for.

    :param anchors: ``(batch, dim)``.
    :param candidates: ``(candidates, dim)``.
    :param batch: with the owners of the candidates.
    :param similarity: dot product or cosine.
    :returns: ``(candidates,)``.
    """
    return pair_similarity(anchors[batch.owners], candidates, similarity)
