"""CoSENT: against the double loop, against sentence-transformers, and at a size no matrix could have."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.training.losses import Batch, CoSENT, cosent
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, few_examples, rows


@few_examples
@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=64),
    scale=st.sampled_from([0.01, 1.0, 20.0]),
    seed=st.integers(0, 99),
)
def test_value_is_the_formula(scores: list[float], scale: float, seed: int) -> None:
    similarities = rows(len(scores), 1, seed)[:, 0].tanh()
    found = cosent(similarities, torch.tensor(scores), scale=scale)
    assert found.item() == pytest.approx(reference.cosent(similarities.tolist(), scores, scale), rel=1e-9)


@few_examples
@given(scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=64))
def test_equals_sentence_transformers(scores: list[float]) -> None:
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    scores[:2] = [0.0, 1.0]  # else there may be nothing to order, and both are 0
    labels = torch.tensor(scores, dtype=torch.float64)
    batch = replace(Batch.of_distinct_texts(len(scores)), scores=labels)
    theirs = CoSENTLoss(torch.nn.Identity())
    assert_same(
        lambda anchors, positives: CoSENT()(anchors, positives, batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), labels),
        rows(len(scores), 5, 0),
        rows(len(scores), 5, 1),
    )


def test_gradient_is_the_derivative() -> None:
    similarities = rows(7, 1, 0)[:, 0].tanh().requires_grad_()
    scores = torch.tensor([0.0, 1.0, 0.5, 0.5, 1.0, 0.2, 0.0])
    assert torch.autograd.gradcheck(lambda s: cosent(s, scores, scale=5.0), (similarities,))


def test_a_hundred_thousand_rows() -> None:
    """The matrix of all pairs would take 80 GB."""
    rows_per_grade, grades = 25_000, 4
    scores = torch.arange(grades).repeat(rows_per_grade) / grades
    similarities = torch.full((len(scores),), 0.3, dtype=torch.float64, requires_grad=True)
    loss = cosent(similarities, scores)
    ordered_pairs = rows_per_grade**2 * math.comb(grades, 2)
    assert loss.item() == pytest.approx(math.log(1 + ordered_pairs))
    loss.backward()
    lowest, highest = similarities.grad[scores == 0], similarities.grad[scores == 0.75]
    assert (lowest > 0).all()
    assert (highest < 0).all()
    assert similarities.grad.sum().abs() < 1e-9


def test_equal_scores_ask_for_nothing() -> None:
    similarities = rows(5, 1, 0)[:, 0].requires_grad_()
    loss = cosent(similarities, torch.full((5,), 0.5))
    loss.backward()
    assert loss.item() == 0
    assert (similarities.grad == 0).all()


def test_only_the_order_of_scores_counts() -> None:
    similarities, scores = rows(6, 1, 0)[:, 0], torch.tensor([0.1, 0.9, 0.4, 0.4, 0.2, 0.0])
    assert torch.equal(cosent(similarities, scores), cosent(similarities, scores**3 + 7))


def test_one_pair_in_the_wrong_order() -> None:
    loss = cosent(torch.tensor([0.5, 0.2]), torch.tensor([0.0, 1.0]), scale=20.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(20 * 0.3)))
