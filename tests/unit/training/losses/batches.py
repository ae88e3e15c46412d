"""Small random batches, and the comparison of two losses by value and gradient."""

from collections.abc import Callable
from dataclasses import replace

import torch
from hypothesis import settings
from torch import Tensor, nn
from torch.nn import functional as F

from cl_haystack.training.losses import Batch

few_examples = settings(max_examples=25, deadline=None)


def rows(number: int, dimension: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, dimension, generator=generator, dtype=torch.float64)


def unit_rows(number: int, dimension: int, seed: int) -> Tensor:
    return F.normalize(rows(number, dimension, seed), dim=-1)


def ragged_batch(seed: int = 0, owners_of_negatives: tuple[int, ...] = (1, 0, 1, 3, 2, 1)) -> Batch:
    """Four rows with every column a loss may want; by default with 1, 3, 1 and 1 hard negatives."""
    owners = torch.tensor([0, 1, 2, 3, *owners_of_negatives])
    return replace(
        Batch.of_distinct_texts(4, owners),
        weights=torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64),
        scores=torch.tensor([0.25, 1.0, 0.25, 0.75], dtype=torch.float64),
        labels=torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64),
        candidate_scores=rows(len(owners), 1, seed + 1)[:, 0],
        guide_anchors=unit_rows(4, 6, seed + 2),
        guide_candidates=unit_rows(len(owners), 6, seed + 3),
    )


def assert_same(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Both functions give the same value and the same gradients for every input, none of them zero."""
    mine = [each.detach().clone().requires_grad_() for each in inputs]
    twins = [each.detach().clone().requires_grad_() for each in inputs]
    found, expected = ours(*mine), theirs(*twins)
    assert expected.item() != 0
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-6, atol=1e-9)
    found.backward()
    expected.backward()
    for own, twin in zip(mine, twins, strict=True):
        assert own.grad is not None
        assert own.grad.abs().max() > 0
        torch.testing.assert_close(own.grad, twin.grad, rtol=1e-6, atol=1e-9)


class GivenEmbeddings(nn.Module):
    """A model for sentence-transformers' losses: its features are the embeddings themselves."""

    def __init__(self, key: str = "embeddings", dimension: int | None = None) -> None:
        super().__init__()
        self.key, self.dimension = key, dimension

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features[self.key]}

    def get_embedding_dimension(self) -> int | None:
        return self.dimension
