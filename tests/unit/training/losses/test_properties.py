"""What holds for every loss: order, padding, duplicates, extremes, half types, weights, its description."""

import inspect
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training import losses
from cl_haystack.training.losses import (
    LOSSES,
    Batch,
    GISTEmbed,
    InfoNCE,
    Loss,
    Matryoshka,
    SimCSE,
    blocks,
    loss_named,
)
from tests.unit.training.losses.batches import assert_same, few_examples, ragged_batch, rows

DIMENSION = 6
ALL = ("query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc")
EVERY_LOSS = [
    *(loss_named(name) for name in LOSSES),
    *(
        loss_named(name, distance="euclidean")
        for name in ("triplet", "batch-hard", "semi-hard", "contrastive")
    ),
    InfoNCE(directions=ALL, partition="joint", hardness="all_negatives", hardness_strength=5.0),
    InfoNCE(learn_scale=True),
    Matryoshka(InfoNCE(), [6, 3]),
    Matryoshka(loss_named("kl"), [6, 3]),
]
every_loss = pytest.mark.parametrize(
    "loss", EVERY_LOSS, ids=[str(i) + loss.name for i, loss in enumerate(EVERY_LOSS)]
)
WITH_SCALE = sorted(name for name in LOSSES if "scale" in loss_named(name).describe())


def embeddings(batch: Batch, seed: int = 0) -> tuple[Tensor, Tensor]:
    return rows(batch.num_anchors, DIMENSION, seed), rows(len(batch.owners), DIMENSION, seed + 100)


def finite_with_gradients(loss: Loss, anchors: Tensor, candidates: Tensor, batch: Batch) -> bool:
    anchors, candidates = anchors.detach().requires_grad_(), candidates.detach().requires_grad_()
    value = loss(anchors, candidates, batch)
    value.backward()
    return all(bool(x.isfinite().all()) for x in (value, anchors.grad, candidates.grad))


@every_loss
@few_examples
@given(
    row_order=st.permutations(range(4)), negative_order=st.permutations(range(4, 10)), seed=st.integers(0, 99)
)
def test_the_order_of_rows_does_not_count(loss, row_order, negative_order, seed) -> None:
    batch = ragged_batch(seed)
    anchors, candidates = embeddings(batch, seed)
    order = [*row_order, *negative_order]
    new_place = torch.tensor(row_order).argsort()
    permuted = Batch(
        owners=new_place[batch.owners[order]],
        anchor_ids=batch.anchor_ids[row_order],
        candidate_ids=batch.candidate_ids[order],
        weights=batch.weights[row_order],
        scores=batch.scores[row_order],
        labels=batch.labels[row_order],
        candidate_scores=batch.candidate_scores[order],
        guide_anchors=batch.guide_anchors[row_order],
        guide_candidates=batch.guide_candidates[order],
    )
    expected = loss(anchors, candidates, batch).item()
    assert loss(anchors[row_order], candidates[order], permuted).item() == pytest.approx(expected, rel=1e-9)
    assert expected != 0 or loss.name == "online-contrastive"  # which may find no pair hard


@every_loss
def test_dimensions_of_zeros_do_not_count(loss: Loss) -> None:
    if loss.name in ("angle", "embedding-distillation"):
        pytest.skip("halves of a vector, and coordinates of a teacher, have their places")
    batch = ragged_batch()
    anchors, candidates = embeddings(batch)
    padded = [torch.nn.functional.pad(each, (0, 2)) for each in (anchors, candidates)]
    expected = loss(anchors, candidates, batch).item()
    assert loss(*padded, batch).item() == pytest.approx(expected, rel=1e-9)


@every_loss
def test_gradient_is_the_derivative(loss: Loss) -> None:
    if loss.describe().get("hardness"):
        pytest.skip("hardness weighs logits without a gradient on purpose")
    batch = ragged_batch()
    anchors, candidates = (each.requires_grad_() for each in embeddings(batch))
    assert torch.autograd.gradcheck(lambda a, c: loss(a, c, batch), (anchors, candidates))
    gradient = torch.autograd.grad(loss(anchors, candidates, batch), anchors)[0]
    assert gradient.abs().max() > 0


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_finite_and_widened(loss: Loss, dtype: torch.dtype) -> None:
    batch = ragged_batch()
    narrow = replace(
        batch,
        **{
            name: getattr(batch, name).to(dtype)
            for name in (
                "weights",
                "scores",
                "labels",
                "candidate_scores",
                "guide_anchors",
                "guide_candidates",
            )
        },
    )
    anchors, candidates = embeddings(batch)
    assert finite_with_gradients(loss, anchors.to(dtype), candidates.to(dtype), narrow)
    found = loss(anchors.to(dtype), candidates.to(dtype), narrow)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss(anchors, candidates, batch).item(), rel=0.2)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicate_and_zero_embeddings_are_finite(loss: Loss, dtype: torch.dtype) -> None:
    batch = ragged_batch()
    for value in (1.0, 0.0):
        anchors = torch.full((4, DIMENSION), value, dtype=dtype)
        candidates = torch.full((len(batch.owners), DIMENSION), value, dtype=dtype)
        assert finite_with_gradients(loss, anchors, candidates, batch)


@every_loss
def test_duplicate_texts_are_finite(loss: Loss) -> None:
    """Rows 0 and 1 are the same pair; a hard negative is somebody's positive, another an anchor."""
    batch = ragged_batch()
    batch.anchor_ids[1], batch.candidate_ids[1] = batch.anchor_ids[0], batch.candidate_ids[0]
    batch.candidate_ids[4], batch.candidate_ids[5] = batch.candidate_ids[2], batch.anchor_ids[0]
    assert finite_with_gradients(loss, *embeddings(batch), batch)


@pytest.mark.parametrize("name", WITH_SCALE)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_temperatures_are_finite(name: str, scale: float, dtype: torch.dtype) -> None:
    batch = ragged_batch()
    anchors, candidates = (each.to(dtype) for each in embeddings(batch))
    assert finite_with_gradients(loss_named(name, scale=scale), anchors, candidates, batch)


def test_the_losses_with_a_scale() -> None:
    assert WITH_SCALE == ["angle", "cosent", "gist", "infonce", "kl", "simcse"]


@every_loss
def test_weights_are_honoured_or_disowned(loss: Loss) -> None:
    batch = ragged_batch()
    anchors, candidates = embeddings(batch)
    found = loss(anchors, candidates, batch).item()
    plain = loss(anchors, candidates, replace(batch, weights=None)).item()
    tripled = loss(anchors, candidates, replace(batch, weights=3 * batch.weights)).item()
    equal = loss(anchors, candidates, replace(batch, weights=torch.full((4,), 0.1))).item()
    assert tripled == pytest.approx(found)
    assert equal == pytest.approx(plain)
    assert (abs(found - plain) > 1e-6) == loss.weighted


@every_loss
def test_pairs_without_negatives(loss: Loss) -> None:
    batch = ragged_batch(owners_of_negatives=())
    if "negatives" in loss.requires:
        with pytest.raises(DataError, match="hard negatives"):
            loss(*embeddings(batch), batch)
    else:
        assert finite_with_gradients(loss, *embeddings(batch), batch)


@every_loss
def test_negatives_count_only_where_they_are_used(loss: Loss) -> None:
    batch = ragged_batch()
    anchors, candidates = embeddings(batch)
    other = torch.cat([candidates[:4], -candidates[4:]])
    unchanged = loss(anchors, candidates, batch).item() == loss(anchors, other, batch).item()
    assert unchanged == ("negatives" not in loss.requires | loss.uses)


@every_loss
def test_a_missing_column_is_named(loss: Loss) -> None:
    batch = ragged_batch()
    for column, field in (("score", "scores"), ("label", "labels")):
        if column in loss.requires:
            with pytest.raises(DataError, match=f"needs '{column}'"):
                loss(*embeddings(batch), replace(batch, **{field: None}))
    if loss.needs_guide:
        without = replace(batch, guide_anchors=None, guide_candidates=None, candidate_scores=None)
        with pytest.raises(DataError, match="guide"):
            loss(*embeddings(batch), without)
    else:
        loss(*embeddings(batch), replace(batch, guide_anchors=None, guide_candidates=None))


@every_loss
def test_one_row_teaches_nothing_where_others_are_the_negatives(loss: Loss) -> None:
    batch = replace(
        Batch.of_distinct_texts(1),
        scores=torch.ones(1),
        labels=torch.ones(1),
        guide_anchors=torch.ones(1, DIMENSION),
        guide_candidates=torch.ones(1, DIMENSION),
    )
    if loss.in_batch_negatives or "negatives" in loss.requires:
        with pytest.raises(DataError):
            loss(*embeddings(batch), batch)
    else:
        assert finite_with_gradients(loss, *embeddings(batch), batch)


@every_loss
def test_shapes_that_cannot_be_are_refused(loss: Loss) -> None:
    batch = ragged_batch()
    anchors, candidates = embeddings(batch)
    for wrong in ((anchors, candidates[:3]), (anchors, candidates[:, :5]), (anchors[:3], candidates)):
        with pytest.raises(DataError, match=r"anchors"):
            loss(*wrong, batch)


@every_loss
def test_description_is_plain_and_rebuilds_the_loss(loss: Loss) -> None:
    description = loss.describe()
    assert json.loads(json.dumps(description)) == description
    assert description["name"] == loss.name
    if "scale" in description:
        assert description["temperature"] == 1 / description["scale"]
    if loss.name in LOSSES:
        derived = ("temperature", "learned_scale")
        assert (
            loss_named(**{k: v for k, v in description.items() if k not in derived}).describe() == description
        )


def test_names_are_known() -> None:
    assert sorted(LOSSES) == [
        "angle",
        "batch-hard",
        "contrastive",
        "cosent",
        "cosine",
        "embedding-distillation",
        "gist",
        "infonce",
        "kl",
        "margin-mse",
        "online-contrastive",
        "semi-hard",
        "simcse",
        "triplet",
    ]
    with pytest.raises(ConfigurationError, match="loss is 'nce', expected one of infonce, gist"):
        loss_named("nce")
    with pytest.raises(
        ConfigurationError, match="'triplet' has no option 'scale'; its options are margin, dis"
    ):
        loss_named("triplet", scale=20)
    with pytest.raises(ConfigurationError, match="'cosine' has no option 'kwargs'; its options are none"):
        loss_named("cosine", kwargs=1)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", ["abc", {}, ["abc"], float("nan")], ids=repr)
def test_an_option_of_a_wrong_kind_is_refused_by_its_name(name: str, value: object) -> None:
    for option in inspect.signature(LOSSES[name]).parameters:
        with pytest.raises(ConfigurationError, match=option):
            loss_named(name, **{option: value})


def test_exports_are_sorted_and_complete() -> None:
    constants, classes = ["LOSSES"], [n for n in losses.__all__ if n[0].isupper() and n != "LOSSES"]
    functions = [n for n in losses.__all__ if n[0].islower()]
    assert losses.__all__ == constants + sorted(classes) + sorted(functions)
    assert all(hasattr(losses, name) for name in losses.__all__)


in_batch_losses = pytest.mark.parametrize(
    "loss",
    [loss for loss in EVERY_LOSS if isinstance(getattr(loss, "loss", loss), InfoNCE | SimCSE | GISTEmbed)],
    ids=lambda loss: loss.name,
)


@in_batch_losses
@pytest.mark.parametrize("most_scores", [1, 25])
def test_a_large_batch_taken_in_blocks_of_rows_is_the_same(loss, most_scores, monkeypatch) -> None:
    batch = ragged_batch()

    def in_blocks(anchors: Tensor, candidates: Tensor) -> Tensor:
        with monkeypatch.context() as patched:
            patched.setattr(blocks, "MOST_SCORES", most_scores)  # a row a block, and two
            return loss(anchors, candidates, batch)

    assert_same(in_blocks, lambda *whole: loss(*whole, batch), *embeddings(batch))


def test_a_scale_that_is_learned_gets_its_gradient_from_every_block(monkeypatch) -> None:
    loss, batch = InfoNCE(learn_scale=True), ragged_batch()
    gradients = []
    for most_scores in (blocks.MOST_SCORES, 1):
        monkeypatch.setattr(blocks, "MOST_SCORES", most_scores)
        loss.zero_grad()
        loss(*embeddings(batch), batch).backward()
        gradients.append(loss.log_scale.grad.item())
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-6)


@in_batch_losses
def test_a_large_batch_keeps_no_matrix_of_scores_for_its_way_back(loss, monkeypatch) -> None:
    def shapes_kept() -> set[tuple[int, ...]]:
        shapes = set()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: shapes.add(tuple(x.shape)) or x, lambda x: x):
            loss(anchors, candidates, batch)
        return shapes

    batch = ragged_batch()
    anchors, candidates = (each.requires_grad_() for each in embeddings(batch))
    scores = (batch.num_anchors, len(batch.owners))
    assert any(shape[:1] == scores[:1] and max(shape) >= scores[1] for shape in shapes_kept())
    monkeypatch.setattr(blocks, "MOST_SCORES", 10)
    assert not any(shape[:1] == scores[:1] and max(shape) >= scores[1] for shape in shapes_kept())
