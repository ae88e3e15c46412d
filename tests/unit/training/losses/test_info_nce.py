"""InfoNCE: against the formula, against sentence-transformers, and at points where the answer is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.training.losses import Batch, InfoNCE, info_nce
from tests.reference import losses as reference
from tests.unit.training.losses.batches import assert_same, few_examples, rows, unit_rows

FORWARD = ("query_to_doc",)
BOTH = ("query_to_doc", "doc_to_query")
ALL = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")


@few_examples
@given(
    num_anchors=st.integers(2, 4),
    owners=st.lists(st.integers(0, 1), max_size=4),
    texts=st.lists(st.integers(0, 5), min_size=12, max_size=12),
    directions=st.sampled_from([(FORWARD, False), (BOTH, False), (BOTH, True), (ALL, True)]),
    hardness=st.sampled_from([None, "in_batch_negatives", "hard_negatives", "all_negatives"]),
    scale=st.sampled_from([0.01, 1.0, 20.0, 1000.0]),
    seed=st.integers(0, 99),
)
def test_value_is_the_formula(num_anchors, owners, texts, directions, hardness, scale, seed) -> None:
    """Ragged hard negatives, duplicate texts, every direction, hardness and weights, all together."""
    owners = [*range(num_anchors), *owners]
    anchor_texts, candidate_texts = texts[:num_anchors], texts[num_anchors : num_anchors + len(owners)]
    anchors, candidates = unit_rows(num_anchors, 5, seed), unit_rows(len(owners), 5, seed + 1)
    weights = [float(i + 1) for i in range(num_anchors)]
    found = info_nce(
        anchors,
        candidates,
        Batch(
            owners=torch.tensor(owners),
            anchor_ids=torch.tensor(anchor_texts),
            candidate_ids=torch.tensor(candidate_texts),
            weights=torch.tensor(weights),
        ),
        scale=scale,
        directions=directions[0],
        partition="joint" if directions[1] else "per_direction",
        hardness=hardness,
        hardness_strength=5.0,
    )
    expected = reference.info_nce(
        anchors.tolist(),
        candidates.tolist(),
        scale,
        *directions,
        owners,
        anchor_texts,
        candidate_texts,
        hardness,
        5.0,
        weights,
    )
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@few_examples
@given(num_anchors=st.integers(2, 4), negatives=st.integers(0, 5), seed=st.integers(0, 99))
def test_without_a_batch_all_texts_are_distinct(num_anchors: int, negatives: int, seed: int) -> None:
    anchors, candidates = unit_rows(num_anchors, 5, seed), unit_rows(num_anchors + negatives, 5, seed + 1)
    found = info_nce(anchors, candidates, directions=ALL, partition="joint")
    expected = reference.info_nce(anchors.tolist(), candidates.tolist(), 20.0, ALL, joint=True)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_is_cross_entropy_in_one_direction() -> None:
    anchors, candidates = unit_rows(4, 5, 0), unit_rows(7, 5, 1)
    expected = torch.nn.functional.cross_entropy(20 * anchors @ candidates.T, torch.arange(4))
    assert info_nce(anchors, candidates, directions=FORWARD).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("directions", [FORWARD, BOTH])
def test_a_batch_of_64_gives_each_anchor_63_negatives(directions) -> None:
    same = torch.ones(64, 3, dtype=torch.float64) / math.sqrt(3)
    assert info_nce(same, same, directions=directions).item() == pytest.approx(math.log(1 + 63))


def test_hard_negatives_of_all_rows_count_for_each() -> None:
    same = torch.ones(64 + 10, 3, dtype=torch.float64) / math.sqrt(3)
    loss = info_nce(same[:64], same, directions=FORWARD)
    assert loss.item() == pytest.approx(math.log(1 + 63 + 10))


def test_large_scale_tends_to_the_worst_margin() -> None:
    anchors, candidates = unit_rows(5, 4, 0), unit_rows(5, 4, 1)
    similarities = (anchors @ candidates.T).numpy()
    margins = [max(0.0, np.delete(row, i).max() - row[i]) for i, row in enumerate(similarities)]
    loss = info_nce(anchors, candidates, scale=1e4, directions=FORWARD)
    assert loss.item() / 1e4 == pytest.approx(np.mean(margins), abs=1e-3)


@pytest.mark.parametrize(
    ("anchor_ids", "candidate_ids", "negatives"),
    [
        ([0, 1, 2], [3, 4, 5], (2, 2, 2)),
        ([0, 1, 2], [3, 3, 5], (1, 1, 2)),  # the same positive
        ([0, 0, 2], [3, 4, 5], (1, 1, 2)),  # the same anchor
        ([0, 1, 2], [3, 0, 5], (1, 2, 2)),  # a candidate that is the anchor itself
        ([0, 1, 2], [3, 4, 5, 3], (2, 3, 3)),  # a hard negative that is the own positive
        ([0, 0, 2], [3, 4, 5, 4], (1, 1, 3)),  # … or the positive of another row with the same anchor
        ([0, 0, 0], [3, 4, 5], (0, 0, 0)),  # nothing is left, and nothing is lost
    ],
)
def test_relevant_texts_are_no_negatives(anchor_ids, candidate_ids, negatives) -> None:
    same = torch.ones(len(candidate_ids), 3) / math.sqrt(3)
    batch = Batch(
        owners=torch.arange(len(candidate_ids)) % 3,
        anchor_ids=torch.tensor(anchor_ids),
        candidate_ids=torch.tensor(candidate_ids),
    )
    loss = info_nce(same[:3], same, batch, directions=FORWARD)
    assert loss.item() == pytest.approx(np.mean([math.log(1 + number) for number in negatives]))
    unmasked = InfoNCE(directions=FORWARD, mask_duplicates=False)(same[:3], same, batch)
    assert unmasked.item() == pytest.approx(math.log(len(candidate_ids)))


def test_gradient_is_the_derivative() -> None:
    anchors, candidates = unit_rows(3, 4, 0).requires_grad_(), unit_rows(5, 4, 1).requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    for directions in (FORWARD, BOTH, ALL):
        assert torch.autograd.gradcheck(
            lambda a, c, s, d=directions: info_nce(a, c, scale=s, directions=d, partition="joint"),
            (anchors, candidates, scale),
        )


@pytest.mark.parametrize("negatives", [0, 1, 2])
@pytest.mark.parametrize("hardness", [None, "in_batch_negatives", "hard_negatives", "all_negatives"])
@pytest.mark.parametrize(
    ("directions", "partition"),
    [(FORWARD, "joint"), (BOTH, "per_direction"), (BOTH, "joint"), (ALL, "joint")],
)
def test_equals_sentence_transformers(negatives, hardness, directions, partition) -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    strength = {} if hardness is None else {"hardness": hardness, "hardness_strength": 5.0}
    theirs = MultipleNegativesRankingLoss(
        torch.nn.Identity(),
        directions=directions,
        partition_mode=partition,
        hardness_mode=hardness,
        hardness_strength=5.0,
    )
    ours = InfoNCE(directions=directions, partition=partition, **strength)
    batch = Batch.of_distinct_texts(6, torch.arange(6).repeat(1 + negatives))
    assert_same(
        lambda anchors, *columns: ours(anchors, torch.cat(columns), batch),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), None),
        *[rows(6, 8, seed) for seed in range(2 + negatives)],
    )


def test_dot_product_equals_sentence_transformers() -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.util import dot_score

    theirs = MultipleNegativesRankingLoss(torch.nn.Identity(), scale=1.0, similarity_fct=dot_score)
    ours = InfoNCE(scale=1.0, similarity="dot", directions=FORWARD)
    assert_same(
        lambda anchors, positives: ours(anchors, positives, Batch.of_distinct_texts(6)),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), None),
        rows(6, 8, 0),
        rows(6, 8, 1),
    )


def test_default_equals_the_symmetric_loss() -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    theirs = MultipleNegativesRankingLoss(
        torch.nn.Identity(), directions=BOTH, partition_mode="per_direction"
    )
    assert_same(
        lambda anchors, positives: InfoNCE()(anchors, positives, Batch.of_distinct_texts(6)),
        lambda *columns: theirs.compute_loss_from_embeddings(list(columns), None),
        rows(6, 8, 0),
        rows(6, 8, 1),
    )


def test_weights_are_shares_of_the_mean() -> None:
    anchors, candidates, batch = unit_rows(3, 4, 0), unit_rows(3, 4, 1), Batch.of_distinct_texts(3)
    alone = [
        info_nce(anchors, candidates, replace(batch, weights=torch.eye(3)[i] + 1e-12)).item()
        for i in range(3)
    ]
    weighted = info_nce(anchors, candidates, replace(batch, weights=torch.tensor([1.0, 2.0, 5.0])))
    assert weighted.item() == pytest.approx((alone[0] + 2 * alone[1] + 5 * alone[2]) / 8)
    assert len({round(value, 6) for value in alone}) == 3


def test_scale_is_learned_and_bounded() -> None:
    loss = InfoNCE(scale=20, learn_scale=True)
    anchors, candidates = rows(4, 6, 0), rows(4, 6, 1)
    batch = Batch.of_distinct_texts(4)
    assert loss(anchors, candidates, batch).item() == pytest.approx(
        InfoNCE(scale=20)(anchors, candidates, batch).item(), rel=1e-6
    )
    loss(anchors, candidates, batch).backward()
    (parameter,) = loss.parameters()
    assert parameter.grad is not None
    assert parameter.grad.item() > 0  # for random rows a softer softmax is better
    with torch.no_grad():
        parameter.fill_(math.log(1e6))
    loss(anchors, candidates, batch)
    assert loss.describe()["learned_scale"] == pytest.approx(100)
    assert loss.describe()["scale"] == 20
    high = InfoNCE(scale=200, learn_scale=True)
    assert high.describe()["learned_scale"] == pytest.approx(200)


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((1, 4), (1, 4)), ((0, 4), (0, 4))])
def test_shapes_that_cannot_be_are_refused(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(DataError):
        info_nce(torch.ones(shapes[0]), torch.ones(shapes[1]))


def test_a_batch_of_other_rows_is_refused() -> None:
    with pytest.raises(DataError, match="describes 3 anchors and 3 candidates"):
        info_nce(torch.ones(3, 4), torch.ones(5, 4), Batch.of_distinct_texts(3))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(ConfigurationError, match="above 0"):
        InfoNCE(scale=scale)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": "euclidean"}, "similarity is 'euclidean', expected one of 'cosine', 'dot'"),
        ({"directions": ()}, "'query_to_doc' among them"),
        ({"directions": ("doc_to_query",)}, "'query_to_doc' among them"),
        ({"directions": ("query_to_doc", "query_to_doc")}, "at most once"),
        ({"directions": ("sideways",)}, "directions is 'sideways'"),
        ({"directions": ALL}, "use partition='joint'"),
        ({"partition": "both"}, "partition is 'both'"),
        ({"hardness": "very"}, "hardness is 'very'"),
        ({"hardness": "all_negatives"}, "no effect without the other"),
        ({"hardness_strength": 5.0}, "no effect without the other"),
        ({"hardness": "all_negatives", "hardness_strength": -1.0}, "at least 0"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        InfoNCE(**options)


def test_a_softmax_without_the_positive_is_refused_in_the_function_too() -> None:
    with pytest.raises(ConfigurationError, match="use partition='joint'"):
        info_nce(unit_rows(3, 4, 0), unit_rows(3, 4, 1), directions=ALL)
