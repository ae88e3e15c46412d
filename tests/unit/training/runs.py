"""What the tests of training share: pairs that a tiny model can learn, options, weights to compare."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from cl_haystack.data import Pair
from cl_haystack.training import ContrastiveTrainer, SentenceEncoder, TrainingConfig
from cl_haystack.training.losses import InfoNCE
from tests.tiny_model import WORDS, make_tiny_encoder

# Synonyms that no random model knows: the positive shares no word with its anchor.
PAIRS = [
    Pair(anchor="cat", positive="red"),
    Pair(anchor="dog", positive="blue"),
    Pair(anchor="house", positive="mat", negatives=("runs", "sat")),
    Pair(anchor="query", positive="passage"),
]
CONFIG = TrainingConfig(num_epochs=2, batch_size=4, learning_rate=1e-2, precision="fp32")


def changed(**options: object) -> TrainingConfig:
    """Return the tests' options, some of them changed."""
    return TrainingConfig(**{**CONFIG.model_dump(), **options})


def many_pairs(number: int, *, negatives: Callable[[int], int] = lambda _: 0) -> list[Pair]:
    """Return pairs of different lengths in which no text occurs twice."""

    def text(kind: str, i: int) -> str:
        return " ".join([kind, *(WORDS[(i + j) % 12] for j in range(1 + i % 5)), *str(i).translate(_LETTERS)])

    return [
        Pair(
            anchor=text("query", i),
            positive=text("passage", i),
            negatives=tuple(text("n" + "x" * j, i) for j in range(negatives(i))),
        )
        for i in range(number)
    ]


def pairs_to_learn(number: int) -> list[Pair]:
    """Return pairs that only training brings together: answers to the questions of other pairs."""
    pairs = many_pairs(number)
    return [
        pair.model_copy(update={"positive": pairs[(7 * i + 3) % number].positive})
        for i, pair in enumerate(pairs)
    ]


_LETTERS = str.maketrans("0123456789", "abcdefghij")


def weights(encoder: SentenceEncoder) -> dict[str, Tensor]:
    """Return a copy of all weights."""
    return {name: value.detach().clone() for name, value in encoder.state_dict().items()}


def assert_same_weights(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Every number is the same, bit by bit."""
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def embeddings(encoder: SentenceEncoder) -> Tensor:
    """What a model makes of some texts, ``(texts, dim)``."""
    texts = [text for pair in many_pairs(20) for text in (pair.anchor, pair.positive)]
    return torch.from_numpy(encoder.encode_documents(texts))


def assert_nearly_the_same_model(found: Tensor, expected: Tensor, before: Tensor) -> None:
    """Two models that were trained on the same gradients, summed in another order, embed alike.

    Embeddings and not weights are compared: where a gradient is zero but for rounding, as that of a key's
    bias always is, Adam makes whole steps of the rounding, which no embedding notices.
    """
    change = float((expected - before).abs().max())
    assert change > 1e-2
    difference = float((found - expected).abs().max())
    assert difference < change / 50, (difference, change)


def trained(checkpoint: Path, pairs: object = PAIRS, **options: object) -> ContrastiveTrainer:
    """Train with the tests' options, some of them changed."""
    trainer = ContrastiveTrainer(checkpoint, config=changed(**options))
    trainer.train(pairs)  # type: ignore[arg-type]
    return trainer


def double_encoder(folder: Path, *, dropout: float = 0.0, **layout: object) -> SentenceEncoder:
    """Make a tiny encoder in float64 whose dropout is the given one."""
    encoder = make_tiny_encoder(folder, **layout).double()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return encoder


class Steep(InfoNCE):
    """Has a finite loss and no finite gradient in one of its batches: the square root of 0 has none.

    :param batch: which one, from 1; 0 for none.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._left = batch

    def forward(self, *batch: Any) -> Tensor:
        self._left -= 1
        loss = super().forward(*batch)
        return loss + (loss * 0).sqrt() if self._left == 0 else loss


class WreckWeights(TrainerCallback):
    """Makes a model forget, as a learning rate that is too high would: its words lose their meaning."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step == self._step:
            with torch.no_grad():
                model.encoder.transformer.embeddings.word_embeddings.weight.zero_()


class Signal(TrainerCallback):
    """Sends this process a signal at a step."""

    def __init__(self, number: int, step: int) -> None:
        self._number, self._step = number, step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self._step:
            os.kill(os.getpid(), self._number)
