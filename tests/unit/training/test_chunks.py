"""GradCache: embeddings and gradients of one plain forward pass, in the memory of one chunk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cl_haystack.training import SentenceEncoder
from cl_haystack.training.chunks import embed_in_chunks
from cl_haystack.training.losses import (
    Batch,
    BatchHardTriplet,
    BatchSemiHardTriplet,
    CoSENT,
    GISTEmbed,
    InfoNCE,
    Loss,
    Matryoshka,
)
from tests.reference.embedding import embed_in_one_piece
from tests.tiny_model import make_tiny_encoder
from tests.unit.training.runs import double_encoder

# Ten texts of eight lengths: four anchors, four positives, two hard negatives.
LENGTHS = [3, 9, 2, 5, 16, 4, 4, 7, 3, 12]
NUM_ANCHORS = 4
CHUNKS = {
    "divides": {"mini_batch_size": 5},
    "does not divide": {"mini_batch_size": 3},
    "one text": {"mini_batch_size": 1},
    "exceeds the batch": {"mini_batch_size": 64},
    "tokens": {"mini_batch_size": None, "token_budget": 24},
    "tokens and texts": {"mini_batch_size": 2, "token_budget": 17},
    "less than a text": {"mini_batch_size": 4, "token_budget": 1},
}
LOSSES: dict[str, Loss] = {
    "infonce": InfoNCE(),
    "joint": InfoNCE(
        directions=("query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"), partition="joint"
    ),
    "hardness": InfoNCE(hardness="all_negatives", hardness_strength=2),
    "learned scale": InfoNCE(learn_scale=True),
    "gist": GISTEmbed(scale=20),
    "hard triplet": BatchHardTriplet(),
    "semi-hard triplet": BatchSemiHardTriplet(),
    "cosent": CoSENT(),
    "matryoshka": Matryoshka(InfoNCE(), [16, 8, 4]),
    "matryoshka of gist": Matryoshka(GISTEmbed(scale=20), [16, 4]),
}


def texts(lengths: Sequence[int], seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(5, 60, (length,), generator=generator).tolist() for length in lengths]


def packed(token_ids: Sequence[Sequence[int]]) -> dict[str, Any]:
    flat = [token for ids in token_ids for token in ids]
    return {"token_ids": torch.tensor(flat), "lengths": [len(ids) for ids in token_ids]}


def batch() -> Batch:
    owners = torch.tensor([0, 1, 2, 3, 1, 3])
    guide = torch.nn.functional.normalize(
        torch.randn(10, 6, generator=torch.Generator().manual_seed(7), dtype=torch.float64), dim=-1
    )
    return Batch(
        owners=owners,
        anchor_ids=torch.arange(4),
        candidate_ids=torch.tensor([4, 5, 4, 7, 8, 9]),  # two anchors share a positive
        scores=torch.tensor([0.1, 0.9, 0.5, 0.3], dtype=torch.float64),
        guide_anchors=guide[:4],
        guide_candidates=guide[4:],
    )


def value_and_gradients(
    encoder: SentenceEncoder, embed: Callable[[], Tensor], loss: Loss
) -> tuple[Tensor, dict[str, Tensor]]:
    encoder.zero_grad()
    loss.zero_grad()
    embeddings = embed()
    value = loss(embeddings[:NUM_ANCHORS], embeddings[NUM_ANCHORS:], batch())
    value.backward()
    named = [*encoder.named_parameters(), *loss.named_parameters(prefix="loss")]
    gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}
    assert sum(bool(gradient.abs().max() > 1e-9) for gradient in gradients.values()) > 25
    return value.detach(), gradients


def assert_same(
    found: tuple[Tensor, dict[str, Tensor]], expected: tuple[Tensor, dict[str, Tensor]], **tolerance: float
) -> None:
    torch.testing.assert_close(found[0], expected[0], **tolerance)
    assert found[1].keys() == expected[1].keys()
    torch.testing.assert_close(found[1], expected[1], **tolerance)


@pytest.mark.parametrize("options", CHUNKS.values(), ids=CHUNKS)
def test_embeddings_are_those_of_one_padded_pass_in_the_order_given(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    encoder, token_ids = double_encoder(tmp_path), texts(LENGTHS)
    expected = embed_in_one_piece(encoder, token_ids)
    torch.testing.assert_close(
        encoder.embed(**packed(token_ids), **options), expected, rtol=1e-10, atol=1e-12
    )
    assert (expected[0] - expected[1]).abs().max() > 1e-2


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("options", CHUNKS.values(), ids=CHUNKS)
def test_value_and_gradients_are_those_of_one_padded_pass(
    tmp_path: Path, options: dict[str, Any], loss: Loss
) -> None:
    encoder, token_ids = double_encoder(tmp_path), texts(LENGTHS)
    expected = value_and_gradients(encoder, lambda: embed_in_one_piece(encoder, token_ids), loss)
    found = value_and_gradients(encoder, lambda: encoder.embed(**packed(token_ids), **options), loss)
    assert_same(found, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", ["infonce", "matryoshka"])
@pytest.mark.parametrize("mini_batch_size", [1, 3, 5, 64])
def test_dropout_of_the_second_pass_is_that_of_the_first(
    tmp_path: Path, name: str, mini_batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge keeps all activations of the same chunks, with the same seed."""
    encoder, token_ids, loss = double_encoder(tmp_path, dropout=0.3).train(), texts(LENGTHS), LOSSES[name]

    def embed() -> Tensor:
        torch.manual_seed(5)
        return encoder.embed(**packed(token_ids), mini_batch_size=mini_batch_size)

    found = value_and_gradients(encoder, embed, loss)
    after = torch.get_rng_state()
    with monkeypatch.context() as patch:
        patch.setattr("cl_haystack.training.chunks.checkpoint", lambda embed, *args, **_: embed(*args))
        expected = value_and_gradients(encoder, embed, loss)
    assert_same(found, expected, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), after)
    still = value_and_gradients(encoder.eval(), embed, loss)
    assert (found[0] - still[0]).abs() > 1e-3  # dropout was on


def test_dropout_differs_from_step_to_step(tmp_path: Path) -> None:
    encoder, token_ids = double_encoder(tmp_path, dropout=0.3).train(), texts(LENGTHS)
    first, second = (encoder.embed(**packed(token_ids), mini_batch_size=3) for _ in range(2))
    assert (first - second).abs().max() > 1e-2


class SavedBytes:
    """Counts what the backward pass keeps alive, without what lives anyway: the weights."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        self._known = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> "Counted":
        storage = tensor.untyped_storage()
        size = 0 if storage.data_ptr() in self._known else storage.nbytes()
        return Counted(self, tensor, size)

    def __enter__(self) -> "SavedBytes":
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda counted: counted.tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)


class Counted:
    def __init__(self, total: SavedBytes, tensor: Tensor, size: int) -> None:
        self.tensor, self._total, self._size = tensor, total, size
        total.now += size
        total.peak = max(total.peak, total.now)

    def __del__(self) -> None:
        self._total.now -= self._size


def peak_of_saved_bytes(encoder: SentenceEncoder, num_texts: int, mini_batch_size: int | None) -> int:
    """Peak of saved tensors over forward and backward of ``num_texts`` texts of 16 tokens."""
    with SavedBytes(encoder) as saved:
        embeddings = encoder.embed(**packed(texts([16] * num_texts)), mini_batch_size=mini_batch_size)
        half = num_texts // 2
        loss = InfoNCE()(embeddings[:half], embeddings[half:], Batch.of_distinct_texts(half))
        loss.backward()
    return saved.peak


def test_memory_does_not_grow_with_the_batch(tmp_path: Path) -> None:
    """What is left to grow is the embeddings and their similarities: a hundredth of the activations."""
    encoder = make_tiny_encoder(tmp_path).train()
    plain = [peak_of_saved_bytes(encoder, number, None) for number in (16, 128)]
    cached = [peak_of_saved_bytes(encoder, number, 4) for number in (16, 128)]
    chunk = peak_of_saved_bytes(encoder, 4, None)
    assert plain[1] > 7 * plain[0]
    assert cached[1] - cached[0] < 0.02 * (plain[1] - plain[0]) + 16 * 128**2
    assert cached[1] < plain[1] / 10
    assert cached[0] < 1.5 * chunk


def test_without_gradients_nothing_is_embedded_twice(tmp_path: Path) -> None:
    encoder, calls = make_tiny_encoder(tmp_path), []

    def embed(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        calls.append(len(input_ids))
        return encoder(input_ids, attention_mask)["sentence_embedding"]

    with torch.no_grad():
        vectors = embed_in_chunks(
            embed,
            **packed(texts(LENGTHS)),
            pad_id=0,
            token_budget=1_000,
            least_saving=0,
            mini_batch_size=4,
        )
    assert calls == [3, 4, 3]  # 16 12 9, 7 5 4 4, 3 3 2
    assert not vectors.requires_grad


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40))
def test_less_than_half_of_a_chunk_is_padding(lengths: list[int]) -> None:
    padded: list[float] = []

    def embed(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        padded.append(1 - attention_mask.float().mean().item())
        return torch.zeros(len(input_ids), 1)

    ids = torch.zeros(sum(lengths), dtype=torch.long)
    embed_in_chunks(embed, ids, lengths, pad_id=0, token_budget=10**6, least_saving=0)
    assert max(padded) <= 0.5


@pytest.mark.parametrize(("least_saving", "chunks"), [(96, [4, 8]), (97, [12])])
def test_a_chunk_that_saves_too_little_is_not_cut(least_saving: int, chunks: list[int]) -> None:
    """Four texts of 16 tokens and eight of 4: apart, they save 8 times 12 tokens of padding."""
    calls = []

    def embed(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        calls.append(len(input_ids))
        return torch.zeros(len(input_ids), 1)

    ids = packed(texts([4] * 8 + [16] * 4))
    embed_in_chunks(embed, **ids, pad_id=0, token_budget=10**6, least_saving=least_saving)
    assert calls == chunks


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=20),
    mini_batch_size=st.none() | st.integers(1, 25),
    token_budget=st.integers(1, 100),
    least_saving=st.integers(0, 100),
)
def test_order_is_restored_and_chunks_keep_their_bounds(
    lengths: list[int], mini_batch_size: int | None, token_budget: int, least_saving: int
) -> None:
    """A text is its number, repeated; its embedding is its mean and its length."""
    shapes = []

    def embed(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        shapes.append(input_ids.shape)
        assert bool((input_ids[attention_mask == 0] == 99).all())
        length = attention_mask.sum(dim=1)
        return torch.stack([(input_ids * attention_mask).sum(dim=1) / length, length], dim=1)

    texts_ = [[10 + number] * length for number, length in enumerate(lengths)]
    vectors = embed_in_chunks(
        embed,
        **packed(texts_),
        pad_id=99,
        token_budget=token_budget,
        least_saving=least_saving,
        mini_batch_size=mini_batch_size,
    )
    assert vectors.tolist() == [[10 + number, length] for number, length in enumerate(lengths)]
    for num_texts, longest in shapes:
        assert mini_batch_size is None or num_texts <= mini_batch_size
        assert num_texts == 1 or num_texts * longest <= token_budget
