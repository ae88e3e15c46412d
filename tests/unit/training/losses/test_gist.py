"""GISTEmbed: against loops, against sentence-transformers, and which negatives a guide takes out."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.losses import Batch, GISTEmbed, gist_embed
from tests.reference import losses as reference
from tests.unit.training.losses.batches import (
    GivenEmbeddings,
    assert_same,
    few_examples,
    ragged_batch,
    rows,
    unit_rows,
)


@few_examples
@given(
    absolute=st.sampled_from([0.0, 0.1, 0.5]),
    relative=st.sampled_from([0.0, 0.05, 0.9]),
    scale=st.sampled_from([0.01, 1.0, 100.0, 1000.0]),
    seed=st.integers(0, 99),
)
def test_value_is_the_formula(absolute: float, relative: float, scale: float, seed: int) -> None:
    batch = ragged_batch(seed)
    anchors, candidates = unit_rows(4, 5, seed), unit_rows(len(batch.owners), 5, seed + 1)
    found = gist_embed(
        anchors, candidates, batch, scale=scale, absolute_margin=absolute, relative_margin=relative
    )
    expected = reference.gist(
        anchors.tolist(),
        candidates.tolist(),
        batch.guide_anchors.tolist(),
        batch.guide_candidates.tolist(),
        scale,
        absolute,
        relative,
        batch.weights.tolist(),
    )
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def theirs(strategy: str, margin: float, contrast: bool):
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    model, guide = GivenEmbeddings(), GivenEmbeddings("guide")
    for each in (model, guide):
        each.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a"))
        )
        each.max_seq_length = 1
    return GISTEmbedLoss(
        model,
        guide,
        margin_strategy=strategy,
        margin=margin,
        contrast_anchors=contrast,
        contrast_positives=contrast,
    )


@pytest.mark.parametrize("hard_negatives", [False, True])
@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize(("strategy", "margin"), [("absolute", 0.0), ("absolute", 0.2), ("relative", 0.3)])
def test_equals_sentence_transformers(hard_negatives, contrast, strategy, margin) -> None:
    columns = 3 if hard_negatives else 2
    student = [rows(6, 8, seed) for seed in range(columns)]
    guides = [unit_rows(6, 3, 10 + seed) for seed in range(columns)]
    guides[1] = F.normalize(guides[0] + 0.7 * guides[1], dim=-1)  # mostly near the anchor, as positives are
    batch = replace(
        Batch.of_distinct_texts(6, torch.arange(6).repeat(columns - 1)),
        guide_anchors=guides[0],
        guide_candidates=torch.cat(guides[1:]),
    )
    ours = GISTEmbed(contrast_anchors=contrast, contrast_positives=contrast, **{f"{strategy}_margin": margin})
    reference_loss = theirs(strategy, margin, contrast)
    assert_same(
        lambda anchors, *rest: ours(anchors, torch.cat(rest), batch),
        lambda *each: reference_loss(
            [{"embeddings": e, "guide": g} for e, g in zip(each, guides, strict=True)], None
        ),
        *student,
    )
    unguided = replace(batch, guide_anchors=guides[0], guide_candidates=-torch.cat(guides[1:]))
    assert ours(student[0], torch.cat(student[1:]), batch) != ours(
        student[0], torch.cat(student[1:]), unguided
    ), "the guide takes nothing out"


def test_what_the_guide_finds_nearer_is_no_negative() -> None:
    guide = torch.eye(3)[[0, 0, 1, 2]]  # the hard negative's guide vector decides
    same = F.normalize(torch.ones(3, 4, dtype=torch.float64), dim=-1)
    batch = Batch.of_distinct_texts(1, torch.tensor([0, 0, 0]))
    near = replace(batch, guide_anchors=guide[:1], guide_candidates=guide[[2, 0, 3]])
    far = replace(batch, guide_anchors=guide[:1], guide_candidates=guide[[0, 2, 3]])
    assert gist_embed(same[:1], same, far).exp().item() == pytest.approx(3)
    assert gist_embed(same[:1], same, near).exp().item() == pytest.approx(2)


def test_the_length_of_the_guides_vectors_does_not_count() -> None:
    batch = ragged_batch()
    lengths = torch.linspace(0.2, 5, len(batch.owners), dtype=torch.float64)[:, None]
    longer = replace(
        batch,
        guide_anchors=batch.guide_anchors * lengths[:4],
        guide_candidates=batch.guide_candidates * lengths.flip(0),
    )
    student = unit_rows(4, 5, 0), unit_rows(len(batch.owners), 5, 1)
    assert gist_embed(*student, longer).item() == pytest.approx(gist_embed(*student, batch).item())


def test_a_text_is_never_its_own_negative() -> None:
    """The guide gives the positive the similarity 1 here, which the anchor with itself does not exceed."""
    guide = torch.eye(2)
    batch = replace(Batch.of_distinct_texts(2), guide_anchors=guide, guide_candidates=guide)
    same = F.normalize(torch.ones(2, 4, dtype=torch.float64), dim=-1)
    loss = gist_embed(same, same, batch)  # own positive, other positive, other anchor, positive with positive
    assert loss.exp().item() == pytest.approx(4)


def test_equal_texts_are_no_negatives_whatever_the_guide_says() -> None:
    guide = torch.eye(2)
    batch = Batch(
        owners=torch.arange(2),
        anchor_ids=torch.tensor([0, 1]),
        candidate_ids=torch.tensor([2, 2]),
        guide_anchors=guide,
        guide_candidates=guide,
    )
    same = F.normalize(torch.ones(2, 4, dtype=torch.float64), dim=-1)
    assert gist_embed(same, same, batch).item() == pytest.approx(0)


def test_needs_a_guide() -> None:
    with pytest.raises(DataError, match="guide"):
        GISTEmbed()(rows(2, 4, 0), rows(2, 4, 1), Batch.of_distinct_texts(2))


@pytest.mark.parametrize("option", ["absolute_margin", "relative_margin"])
def test_margins_are_not_negative(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} is -0.1"):
        GISTEmbed(**{option: -0.1})
