"""SimCSE: InfoNCE between two embeddings of the same texts."""

import pytest
import torch

from cl_haystack.training.losses import Batch, SimCSE
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, rows, unit_rows


def same_texts(ids: list[int]) -> Batch:
    return Batch(owners=torch.arange(len(ids)), anchor_ids=torch.tensor(ids), candidate_ids=torch.tensor(ids))


@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [0, 1, 1, 3]])
def test_value_is_the_formula(ids: list[int]) -> None:
    """A row's own positive stays although its text is the anchor's; another row of that text does not."""
    first, second = unit_rows(4, 5, 0), unit_rows(4, 5, 1)
    expected = reference.info_nce(
        first.tolist(), second.tolist(), 20.0, anchor_texts=ids, candidate_texts=ids
    )
    assert SimCSE()(first, second, same_texts(ids)).item() == pytest.approx(expected, rel=1e-9)


def test_equals_sentence_transformers() -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    theirs = MultipleNegativesRankingLoss(torch.nn.Identity())
    assert_same(
        lambda first, second: SimCSE()(first, second, same_texts([0, 1, 2, 3, 4, 5])),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), None),
        rows(6, 8, 0),
        rows(6, 8, 1),
    )


def test_pulls_the_two_embeddings_of_a_text_together() -> None:
    first = rows(4, 8, 0).requires_grad_()
    second = first.detach() + 0.1 * rows(4, 8, 1)
    batch = same_texts([0, 1, 2, 3])
    before = SimCSE(scale=5.0)(first, second, batch)
    before.backward()
    after = SimCSE(scale=5.0)(first - 0.1 * first.grad, second, batch)
    assert after.item() < before.item()


def test_tells_the_trainer_to_embed_the_anchor_again() -> None:
    assert SimCSE.positive_is_anchor
    assert not SimCSE.requires
