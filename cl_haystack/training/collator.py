"""Rows of pairs to what the model and the loss take: token ids in one piece, and who is whose.

Token ids of all texts of a batch lie one after the other, unpadded: which texts run together is decided on
the device, by length. This may run in worker processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset

from cl_haystack.encoder.tokenization import TextTokenizer
from cl_haystack.training.losses.batch import Batch
from cl_haystack.training.sampling import text_id
from cl_haystack.training.schedule import ScheduledBatch
from cl_haystack.training.training_set import TrainingSet


@dataclass(frozen=True)
class Prompting:
    """A tokenizer with the prefixes that its model's texts get, once.

    :param tokenizer: the model's tokenizer.
    :param query_prefix: before each anchor.
    :param document_prefix: before each positive and negative.
    """

    tokenizer: TextTokenizer
    query_prefix: str
    document_prefix: str

    def pack(self, anchors: Sequence[str], candidates: Sequence[str]) -> "PackedTexts":
        """Tokenize anchors, then candidates."""
        tokenized = self.tokenizer.tokenize(anchors, self.query_prefix)
        tokenized += self.tokenizer.tokenize(candidates, self.document_prefix)
        ids = [token for text in tokenized for token in text.ids]
        return {"token_ids": torch.tensor(ids), "lengths": [len(text.ids) for text in tokenized]}


class PackedTexts(TypedDict):
    """Texts one after the other: ``token_ids`` ``(tokens,)``, ``lengths`` a number a text."""

    token_ids: Tensor
    lengths: list[int]


class TrainingBatch(TypedDict):
    """What a step gets: texts for the model, texts for the guide, facts for the loss."""

    training_set: int
    texts: PackedTexts
    guide_texts: PackedTexts | None
    facts: dict[str, Tensor]


class ScheduledBatches(Dataset[TrainingBatch]):
    """The batches of a run, ready to be trained on; position is the step.

    :param sets: the data sets.
    :param schedule: this device's batches.
    :param prompting: of the model that is trained.
    :param guide: of the guide or teacher model, where a loss needs one.
    """

    def __init__(
        self,
        sets: Sequence[TrainingSet],
        schedule: Sequence[ScheduledBatch],
        prompting: Prompting,
        guide: Prompting | None = None,
    ) -> None:
        self._sets = sets
        self._schedule = schedule
        self._prompting = prompting
        self._guide = guide

    def __len__(self) -> int:
        return len(self._schedule)

    def __getitem__(self, step: int) -> TrainingBatch:
        batch = self._schedule[step]
        training_set = self._sets[batch.training_set]
        rows = training_set.pairs.rows(batch.rows)
        anchors = [row["anchor"] for row in rows]
        owned = [(i, negative) for i, row in enumerate(rows) for negative in row["negatives"]]
        positives = [row["positive"] for row in rows]
        if training_set.loss.in_batch_negatives:
            owned = _each_once(owned, positives)
        candidates = positives + [negative for _, negative in owned]
        owners = [*range(len(rows)), *(owner for owner, _ in owned)]
        guide = self._guide if training_set.needs_guide else None
        facts = _facts(rows, anchors, candidates, owners)
        if training_set.uses_candidate_scores:
            facts["candidate_scores"] = _candidate_scores(rows)
        return {
            "training_set": batch.training_set,
            "texts": self._prompting.pack(anchors, candidates),
            "guide_texts": None if guide is None else guide.pack(anchors, candidates),
            "facts": facts,
        }


def as_batch(facts: dict[str, Tensor]) -> Batch:
    """Turn the facts of a collated batch into what a loss takes."""
    return Batch(**facts)


def _each_once(owned: Sequence[tuple[int, str]], positives: Sequence[str]) -> list[tuple[int, str]]:
    """Leave out negatives that stand in the batch already: all anchors meet all candidates there.

    The schedule keeps texts apart as they were at the beginning; negatives that are mined anew may meet.
    """
    first_owner = dict.fromkeys(positives, -1)
    for owner, negative in owned:
        first_owner.setdefault(negative, owner)
    return [(owner, text) for text, owner in first_owner.items() if owner >= 0]


def _facts(
    rows: Sequence[dict[str, Any]], anchors: Sequence[str], candidates: Sequence[str], owners: Sequence[int]
) -> dict[str, Tensor]:
    facts = {
        "owners": torch.tensor(owners),  # (candidates,)
        "anchor_ids": torch.tensor([text_id(text) for text in anchors]),  # (batch,)
        "candidate_ids": torch.tensor([text_id(text) for text in candidates]),  # (candidates,)
        "weights": torch.tensor([row["weight"] for row in rows]),  # (batch,)
    }
    # A data set has one of these columns in all of its pairs or in none.
    for column, fact in (("score", "scores"), ("label", "labels")):
        if rows[0][column] is not None:
            facts[fact] = torch.tensor([float(row[column]) for row in rows])  # (batch,)
    return facts


def _candidate_scores(rows: Sequence[dict[str, Any]]) -> Tensor:
    own = [row["candidate_scores"] for row in rows]
    return torch.tensor([scores[0] for scores in own] + [score for scores in own for score in scores[1:]])
