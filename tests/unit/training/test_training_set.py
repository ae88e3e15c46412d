"""Pairs and losses that do not fit are told apart before the first step, by column and number."""

from pathlib import Path

import pytest

from cl_haystack.data import Pair
from cl_haystack.errors import DataError
from cl_haystack.training import ContrastiveTrainer
from cl_haystack.training.losses import (
    Contrastive,
    CoSENT,
    CosineSimilarity,
    DistillKL,
    InfoNCE,
    Loss,
    MarginMSE,
    Matryoshka,
    Triplet,
)
from cl_haystack.training.pair_table import PairTable
from cl_haystack.training.training_set import TrainingSet
from tests.unit.training.runs import CONFIG, PAIRS, assert_same_weights, trained, weights

PLAIN = Pair(anchor="cat", positive="red")
NEGATIVE = Pair(anchor="cat", positive="red", negatives=("blue",))
SCORED = Pair(anchor="cat", positive="red", score=0.5)
LABELLED = Pair(anchor="cat", positive="red", label=1)
TAUGHT = NEGATIVE.model_copy(update={"candidate_scores": (2.0, 1.0)})
HEAVY = Pair(anchor="cat", positive="red", weight=2)


@pytest.mark.parametrize(
    ("loss", "pairs", "message"),
    [
        (
            CoSENT(),
            [SCORED, PLAIN, PLAIN],
            "2 of the 3 pairs of 'mine' have no 'score', which .* cosent needs",
        ),
        (Contrastive(), [PLAIN], "1 of the 1 pairs of 'mine' have no 'label'"),
        (Triplet(), [NEGATIVE, PLAIN], "1 of the 2 pairs of 'mine' have no 'negatives'"),
        (Matryoshka(CoSENT(), [8]), [PLAIN], "no 'score', which the loss matryoshka needs"),
        (
            InfoNCE(),
            [SCORED, SCORED],
            "2 of the 2 pairs of 'mine' have 'score', which .* infonce does not use",
        ),
        (InfoNCE(), [LABELLED], "have 'label', which the loss infonce does not use"),
        (
            CoSENT(),
            [SCORED.model_copy(update={"negatives": ("n",)})],
            "have 'negatives', .* cosent does not use",
        ),
        (
            DistillKL(),
            [TAUGHT, NEGATIVE],
            "1 of the 2 pairs of 'mine' have no 'candidate_scores', the others do",
        ),
        (
            CoSENT(),
            [SCORED.model_copy(update={"weight": 2.0})],
            "have a weight, but the loss cosent compares",
        ),
        (InfoNCE(), [], "'mine' is empty; expected pairs"),
    ],
)
def test_columns_that_do_not_fit_are_named(loss: Loss, pairs: list[Pair], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TrainingSet(pairs, loss=loss, name="mine")


@pytest.mark.parametrize(
    ("loss", "pairs"),
    [
        (InfoNCE(), [PLAIN, NEGATIVE, HEAVY]),
        (InfoNCE(), [PLAIN, TAUGHT, NEGATIVE]),  # mining scores the pairs that it finds negatives for
        (CosineSimilarity(), [SCORED.model_copy(update={"weight": 2.0})]),
        (MarginMSE(), [TAUGHT]),
        (MarginMSE(), [NEGATIVE]),
        (Matryoshka(InfoNCE(), [8]), [NEGATIVE]),
    ],
)
def test_columns_that_fit(loss: Loss, pairs: list[Pair]) -> None:
    assert len(TrainingSet(pairs, loss=loss)) == len(pairs)


def test_scores_of_candidates_are_of_use_where_the_loss_learns_from_them() -> None:
    assert not TrainingSet([TAUGHT, PLAIN], loss=InfoNCE()).uses_candidate_scores
    taught = TrainingSet([TAUGHT], loss=DistillKL())
    assert (taught.uses_candidate_scores, taught.needs_guide) == (True, False)
    taught.guide_is_named = True
    assert (taught.uses_candidate_scores, taught.needs_guide) == (False, True)
    untaught = TrainingSet([NEGATIVE], loss=DistillKL())
    assert (untaught.uses_candidate_scores, untaught.needs_guide) == (False, True)


def test_refreshed_pairs_must_fit_as_well() -> None:
    training_set = TrainingSet([NEGATIVE, NEGATIVE], loss=Triplet(), name="mine")
    with pytest.raises(DataError, match="1 of the 2 pairs of 'mine' have no 'negatives'"):
        training_set.refresh(PairTable([NEGATIVE, PLAIN]))
    assert training_set.pairs is training_set.given
    training_set.refresh(PairTable([TAUGHT, NEGATIVE]))
    assert training_set.pairs is not training_set.given


def test_a_set_gives_its_pairs_back() -> None:
    pairs = [PLAIN, NEGATIVE, Pair(anchor="dog", positive="blue", document_id="7")]
    assert list(TrainingSet(pairs)) == pairs


def test_items_that_are_no_pairs_are_not_passed_over(checkpoint: Path) -> None:
    trainer = ContrastiveTrainer(checkpoint, config=CONFIG)
    for items in ([{"anchor": "cat", "positive": "red"}], [None, *PAIRS], [*PAIRS, TrainingSet(PAIRS)]):
        with pytest.raises(DataError, match=r"item [04] of the training data is a .*expected pairs only"):
            trainer.train(items)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="item 1 of the training data is a Pair"):
        trainer.train([TrainingSet(PAIRS), PAIRS[0]])  # type: ignore[list-item]


def test_pairs_and_sets_may_come_one_at_a_time(checkpoint: Path) -> None:
    expected = weights(trained(checkpoint).encoder)
    assert_same_weights(weights(trained(checkpoint, iter(PAIRS)).encoder), expected)
    assert_same_weights(weights(trained(checkpoint, (TrainingSet(PAIRS) for _ in "1")).encoder), expected)
