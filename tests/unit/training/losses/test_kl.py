"""KL distillation: against loops with ragged negatives, and against sentence-transformers."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.errors import DataError
from cl_haystack.training.losses import Batch, DistillKL, distill_kl
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, few_examples, ragged_batch, rows


@few_examples
@given(
    owners=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    scale=st.sampled_from([0.1, 1.0, 20.0]),
    seed=st.integers(0, 99),
)
def test_value_is_the_formula(owners: list[int], scale: float, seed: int) -> None:
    """Rows without a negative of their own included; they add nothing."""
    batch = ragged_batch(seed, tuple(owners))
    student = rows(len(batch.owners), 1, seed)[:, 0]
    found = distill_kl(student, batch.candidate_scores, batch, scale=scale)
    expected = reference.distill_kl(
        student.tolist(),
        batch.candidate_scores.tolist(),
        batch.owners.tolist(),
        4,
        scale,
        batch.weights.tolist(),
    )
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_without_scores_the_guide_is_the_teacher(similarity: str) -> None:
    batch = replace(ragged_batch(), candidate_scores=None)
    anchors, candidates = rows(4, 5, 0), rows(len(batch.owners), 5, 1)
    owners = batch.owners.tolist()
    student = [
        getattr(reference, similarity)(anchors[owner].tolist(), candidate.tolist())
        for owner, candidate in zip(owners, candidates, strict=True)
    ]
    teacher = [
        reference.dot(batch.guide_anchors[owner].tolist(), candidate.tolist())
        for owner, candidate in zip(owners, batch.guide_candidates, strict=True)
    ]
    expected = reference.distill_kl(student, teacher, owners, 4, 3.0, batch.weights.tolist())
    found = DistillKL(scale=3.0, similarity=similarity)(anchors, candidates, batch)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("negatives", [1, 3])
def test_equals_sentence_transformers(negatives: int, temperature: float) -> None:
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss

    scores = rows(6, 1 + negatives, 9)
    batch = replace(
        Batch.of_distinct_texts(6, torch.arange(6).repeat(1 + negatives)), candidate_scores=scores.T.flatten()
    )
    theirs = DistillKLDivLoss(torch.nn.Identity(), temperature=temperature)
    ours = DistillKL(scale=1 / temperature)
    assert_same(
        lambda anchors, *columns: ours(anchors, torch.cat(columns), batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), scores),
        *[rows(6, 8, seed) for seed in range(2 + negatives)],
    )


def test_is_zero_where_student_and_teacher_differ_by_a_constant_a_row() -> None:
    batch, teacher = ragged_batch(), rows(10, 1, 0)[:, 0]
    shift = torch.tensor([1.0, -2.0, 0.5, 3.0])[batch.owners]
    assert distill_kl(teacher + shift, teacher, batch).item() == pytest.approx(0)
    assert distill_kl(-teacher, teacher, batch).item() > 0.01


def test_gradient_is_the_derivative() -> None:
    batch, teacher = ragged_batch(), rows(10, 1, 0)[:, 0]
    student = rows(10, 1, 1)[:, 0].requires_grad_()
    assert torch.autograd.gradcheck(lambda s: distill_kl(s, teacher, batch, scale=2.0), (student,))


def test_needs_negatives() -> None:
    with pytest.raises(DataError, match="hard negatives"):
        DistillKL()(rows(4, 5, 0), rows(4, 5, 1), ragged_batch(owners_of_negatives=()))
