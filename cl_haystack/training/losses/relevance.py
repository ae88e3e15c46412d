"""Which texts must not be called negatives: a question's other answers, an answer's other questions.

A pair of the batch says that two texts belong together. The relation is read off the texts and not off the
rows, so that a question standing in two rows keeps both its answers, and an answer standing twice is not
its own negative.
"""

import torch
from torch import Tensor

from cl_haystack.training.losses.batch import Batch


def relevant_candidates(batch: Batch) -> Tensor:
    """Return which candidates are relevant to which anchors.

    :param batch: the batch, with the ids of its texts.
    :returns: ``(batch, candidates)`` of bool: the candidate's text is the anchor's own, or that of a positive
        of any row with the same anchor; a row's own positive always is.
    """
    _, questions = torch.unique(batch.anchor_ids, return_inverse=True)  # (batch,)
    _, answers = torch.unique(batch.candidate_ids, return_inverse=True)  # (candidates,)
    known = torch.zeros(len(questions), len(answers), dtype=torch.bool, device=answers.device)
    known[questions, answers[: len(questions)]] = True  # by text, not by row
    same_text = batch.anchor_ids[:, None] == batch.candidate_ids  # (batch, candidates)
    return known[questions][:, answers] | same_text  # (batch, candidates)


def own_positives(batch: Batch) -> Tensor:
    """Return which candidate is the positive of which anchor's own row, ``(batch, candidates)`` of bool."""
    device = batch.candidate_ids.device
    return torch.eye(len(batch.anchor_ids), len(batch.candidate_ids), dtype=torch.bool, device=device)


def related_anchors(relevant: Tensor) -> Tensor:
    """Return which anchors share a positive, ``(batch, batch)`` of bool; each does with itself.

    :param relevant: ``(batch, candidates)`` of bool.
    :returns: ``(batch, batch)`` of bool.
    """
    positives = relevant[:, : len(relevant)].float()  # (batch, batch)
    return positives @ positives.T > 0


def related_candidates(relevant: Tensor) -> Tensor:
    """Return which candidates share an anchor with each row's positive; each positive does with itself.

    :param relevant: ``(batch, candidates)`` of bool.
    :returns: ``(batch, candidates)`` of bool.
    """
    return relevant[:, : len(relevant)].T.float() @ relevant.float() > 0


def text_classes(batch: Batch) -> Tensor:
    """Find the groups of rows that are linked, directly or over other rows, by an equal text.

    :param batch: the batch, with the ids of its texts.
    :returns: ``(batch,)``: the first row of each row's group.
    """
    linked = related_anchors(relevant_candidates(batch))  # (batch, batch)
    rows = torch.arange(len(linked), device=linked.device)
    classes = rows
    while True:
        smallest = torch.where(linked, classes, len(rows)).amin(dim=1)  # (batch,)
        if torch.equal(smallest, classes):
            return classes
        classes = smallest
