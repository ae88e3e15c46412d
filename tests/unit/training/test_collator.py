"""What a step gets: prefixes once, negatives with their owners, every column in its row."""

from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.data import Pair
from cl_haystack.training.collator import Prompting, ScheduledBatches, as_batch
from cl_haystack.training.losses import (
    Contrastive,
    CoSENT,
    DistillKL,
    EmbeddingDistillation,
    InfoNCE,
    Loss,
    Triplet,
)
from cl_haystack.training.sampling import text_id
from cl_haystack.training.schedule import ScheduledBatch
from cl_haystack.training.training_set import TrainingSet
from tests.tiny_model import make_tiny_encoder


class Letters:
    """A tokenizer without secrets: a token a character; and the texts that it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def tokenize(self, texts: Any, prefix: str = "") -> list[Any]:
        self.texts += [prefix + text for text in texts]
        return [type("Tokenized", (), {"ids": [ord(c) for c in prefix + text]}) for text in texts]


def collated(pairs: list[Pair], rows: list[int], loss: Loss, **options: Any) -> Any:
    batches = ScheduledBatches(
        [TrainingSet(pairs, loss=loss)],
        [ScheduledBatch(0, rows)],
        Prompting(Letters(), "Q:", "D:"),  # type: ignore[arg-type]
        **options,
    )
    return batches[0]


def texts_of(packed: Any) -> list[str]:
    pieces = torch.split(packed["token_ids"], packed["lengths"])
    return ["".join(map(chr, piece.tolist())) for piece in pieces]


RAGGED = [
    Pair(anchor="a0", positive="p0", negatives=("n00", "n01"), weight=0.5),
    Pair(anchor="a1", positive="p1"),
    Pair(anchor="a2", positive="p2", negatives=("n20",), weight=2.0),
    Pair(anchor="a3", positive="p0", negatives=("p1",)),
]


def test_prefixes_once_and_negatives_behind_the_positives_with_their_owners() -> None:
    batch = collated(RAGGED, [2, 0, 1], InfoNCE())
    assert texts_of(batch["texts"]) == [
        *("Q:a2", "Q:a0", "Q:a1"),
        *("D:p2", "D:p0", "D:p1", "D:n20", "D:n00", "D:n01"),
    ]
    facts = as_batch(batch["facts"])
    assert facts.owners.tolist() == [0, 1, 2, 0, 1, 1]
    assert facts.weights is not None
    assert facts.weights.tolist() == [2.0, 0.5, 1.0]
    assert facts.anchor_ids.tolist() == [text_id(t) for t in ("a2", "a0", "a1")]
    assert facts.candidate_ids.tolist() == [text_id(t) for t in ("p2", "p0", "p1", "n20", "n00", "n01")]
    assert facts.scores is facts.labels is facts.candidate_scores is facts.guide_anchors is None


def test_equal_texts_have_equal_ids() -> None:
    facts = as_batch(collated(RAGGED, [0, 1, 3], EmbeddingDistillation())["facts"])
    assert facts.candidate_ids[0] == facts.candidate_ids[2]  # p0, twice a positive
    assert facts.candidate_ids[1] == facts.candidate_ids[-1]  # p1, a positive and a negative


def test_negatives_that_were_mined_anew_count_once_where_rows_meet() -> None:
    pairs = [Pair(anchor=f"a{i}", positive=f"p{i}", negatives=("same", f"n{i}", "p0")) for i in range(3)]
    facts = as_batch(collated(pairs, [1, 0, 2], InfoNCE())["facts"])
    texts = ("p1", "p0", "p2", "same", "n1", "n0", "n2")
    assert facts.candidate_ids.tolist() == [text_id(text) for text in texts]
    assert facts.owners.tolist() == [0, 1, 2, 0, 0, 1, 2]
    assert len(as_batch(collated(pairs, [1, 0, 2], Triplet())["facts"]).owners) == 12


def test_columns_stand_in_the_rows_of_their_pairs() -> None:
    graded = [Pair(anchor=f"a{i}", positive=f"p{i}", score=i / 4) for i in range(4)]
    facts = as_batch(collated(graded, [3, 1], CoSENT())["facts"])
    assert facts.scores is not None
    assert facts.scores.tolist() == [0.75, 0.25]
    labelled = [Pair(anchor=f"a{i}", positive=f"p{i}", label=i % 2) for i in range(4)]
    facts = as_batch(collated(labelled, [2, 3], Contrastive())["facts"])
    assert facts.labels is not None
    assert facts.labels.tolist() == [0, 1]
    scored = [
        Pair(anchor="a0", positive="p0", negatives=("n00", "n01"), candidate_scores=(9, 8, 7)),
        Pair(anchor="a1", positive="p1", negatives=("n10",), candidate_scores=(6, 5)),
    ]
    facts = as_batch(collated(scored, [1, 0], DistillKL())["facts"])
    assert facts.candidate_scores is not None
    assert facts.candidate_scores.tolist() == [6, 9, 5, 8, 7]  # positives, then the negatives of a1, a0


def test_the_guide_reads_the_same_texts_with_its_own_prefixes() -> None:
    guide = Prompting(Letters(), "ask ", "say ")  # type: ignore[arg-type]
    batch = collated(RAGGED, [0], EmbeddingDistillation(), guide=guide)
    assert texts_of(batch["guide_texts"]) == ["ask a0", "say p0", "say n00", "say n01"]
    assert collated(RAGGED, [0], InfoNCE(), guide=guide)["guide_texts"] is None


def test_scores_that_are_there_need_no_guide() -> None:
    scored = [Pair(anchor="a", positive="p", negatives=("n",), candidate_scores=(2, 1))]
    guide = Prompting(Letters(), "", "")  # type: ignore[arg-type]
    assert collated(scored, [0], DistillKL(), guide=guide)["guide_texts"] is None
    assert TrainingSet(
        [scored[0].model_copy(update={"candidate_scores": None})], loss=DistillKL()
    ).needs_guide


def test_scores_that_mining_left_on_some_pairs_are_passed_over() -> None:
    mined = [
        Pair(anchor="a0", positive="p0", negatives=("n0",), candidate_scores=(0.9, 0.5)),
        Pair(anchor="a1", positive="p1"),
    ]
    for rows in ([0, 1], [1, 0]):
        assert as_batch(collated(mined, rows, InfoNCE())["facts"]).candidate_scores is None


def test_tokens_are_those_that_serving_makes(tmp_path: Path) -> None:
    encoder = make_tiny_encoder(tmp_path, query_prefix="query : ", document_prefix="passage : ")
    prompting = Prompting(encoder.tokenizer, "query : ", "passage : ")
    (batch,) = ScheduledBatches([TrainingSet(RAGGED)], [ScheduledBatch(0, [0, 1])], prompting)
    served = encoder.tokenizer.tokenize(["a0", "a1"], "query : ")
    served += encoder.tokenizer.tokenize(["p0", "p1", "n00", "n01"], "passage : ")
    pieces = torch.split(batch["texts"]["token_ids"], batch["texts"]["lengths"])
    assert [piece.tolist() for piece in pieces] == [text.ids for text in served]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=2, max_size=6),
    st.text(max_size=4),
)
def test_any_text_gets_the_prefix_once(texts: list[str], prefix: str) -> None:
    letters = Letters()
    prompting = Prompting(letters, prefix, "")  # type: ignore[arg-type]
    pairs = [Pair(anchor=text, positive="p") for text in texts]
    ScheduledBatches([TrainingSet(pairs)], [ScheduledBatch(0, list(range(len(pairs))))], prompting)[0]
    assert letters.texts == [*(prefix + text for text in texts), *["p"] * len(texts)]
