"""InfoNCE: against the formula, against sentence-transformers, and at points where the answer is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.losses import InfoNCE, info_nce
from tests.reference import losses as reference

BOTH_DIRECTIONS = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}


def unit_rows(rows: int, dimension: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dimension, generator=generator, dtype=torch.float64), dim=-1)


@given(
    batch=st.integers(2, 6),
    negatives=st.integers(0, 5),
    scale=st.sampled_from([0.01, 1.0, 20.0, 1000.0]),
    seed=st.integers(0, 99),
)
def test_value_is_the_formula(batch: int, negatives: int, scale: float, seed: int) -> None:
    anchors, candidates = unit_rows(batch, 5, seed), unit_rows(batch + negatives, 5, seed + 1)
    expected = reference.info_nce(anchors.numpy(), candidates.numpy(), scale)
    assert info_nce(anchors, candidates, scale=scale).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_batch_of_64_gives_each_anchor_63_negatives() -> None:
    same = torch.ones(64, 3, dtype=torch.float64) / math.sqrt(3)
    assert info_nce(same, same).item() == pytest.approx(math.log(64))


@given(st.permutations(range(3)), st.integers(0, 99))
def test_order_of_hard_negatives_does_not_count(order: list[int], seed: int) -> None:
    anchors, positives, negatives = (
        unit_rows(4, 6, seed),
        unit_rows(4, 6, seed + 1),
        unit_rows(3, 6, seed + 2),
    )
    loss = info_nce(anchors, torch.cat([positives, negatives]))
    assert info_nce(anchors, torch.cat([positives, negatives[order]])).item() == pytest.approx(loss.item())


def test_large_scale_tends_to_the_worst_margin() -> None:
    anchors, candidates = unit_rows(5, 4, 0), unit_rows(5, 4, 1)
    similarities = (anchors @ candidates.T).numpy()
    margins = [max(0.0, np.delete(row, i).max() - row[i]) for i, row in enumerate(similarities)]
    assert info_nce(anchors, candidates, scale=1e4).item() / 1e4 == pytest.approx(np.mean(margins), abs=1e-3)


def test_gradient_is_the_derivative() -> None:
    anchors, candidates = unit_rows(3, 4, 0).requires_grad_(), unit_rows(5, 4, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, c: info_nce(a, c, scale=5.0), (anchors, candidates))
    assert torch.autograd.gradcheck(InfoNCE(scale=5.0), (anchors, candidates))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 20.0, 1e3])
def test_half_precision_is_finite(dtype: torch.dtype, scale: float) -> None:
    vectors = unit_rows(8, 16, 0).to(dtype)
    assert torch.isfinite(InfoNCE(scale=scale)(vectors, vectors))


@pytest.mark.parametrize("negatives", [0, 1, 2])
@pytest.mark.parametrize("both_directions", [False, True])
def test_equals_sentence_transformers(negatives: int, both_directions: bool) -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    columns = [unit_rows(6, 8, seed).mul(seed + 1).requires_grad_() for seed in range(2 + negatives)]
    twins = [column.detach().clone().requires_grad_() for column in columns]
    theirs = MultipleNegativesRankingLoss(
        torch.nn.Identity(), scale=20.0, **(BOTH_DIRECTIONS if both_directions else {})
    )
    expected = theirs.compute_loss_from_embeddings(twins, None)
    found = InfoNCE(both_directions=both_directions)(columns[0], torch.cat(columns[1:]))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    expected.backward()
    found.backward()
    for column, twin in zip(columns, twins, strict=True):
        assert column.grad.abs().max() > 0
        torch.testing.assert_close(column.grad, twin.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((1, 4), (1, 4))])
def test_shapes_that_cannot_be_are_refused(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(DataError):
        info_nce(torch.ones(shapes[0]), torch.ones(shapes[1]))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(ConfigurationError, match="above 0"):
        InfoNCE(scale=scale)
