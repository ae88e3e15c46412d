"""Low-rank adapters: train a small part of the parameters, merge it into the weights at the end."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from cl_haystack.errors import MissingExtraError
from cl_haystack.training.model import SentenceEncoder


def add_adapters(encoder: SentenceEncoder, rank: int, *, seed: int) -> None:
    """Freeze the transformer and put adapters beside all its linear layers.

    Source: Hu et al. 2021, arXiv:2106.09685; alpha is twice the rank, as is usual.

    :param encoder: changed in place.
    :param rank: rank of the adapters, > 0.
    :param seed: of the random numbers that they start from.
    :raises MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtraError("peft", "lora") from None
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with warnings.catch_warnings():  # peft 0.21 asks by a name that transformers 5.23 has renamed
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        encoder.transformer = get_peft_model(encoder.transformer, config)


@contextmanager
def scaled_adapters(module: nn.Module, factor: float) -> Iterator[None]:
    """Let adapters count for less while the block runs.

    :param module: a model with adapters.
    :param factor: how much of them counts.
    """
    layers: list[Any] = [
        layer for layer in module.modules() if isinstance(getattr(layer, "scaling", None), dict)
    ]
    before = [dict(layer.scaling) for layer in layers]
    for layer in layers:
        layer.scaling = {name: factor * scaling for name, scaling in layer.scaling.items()}
    try:
        yield
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling = scaling


def merge_adapters(encoder: SentenceEncoder) -> None:
    """Add the adapters to the weights that they stand beside.

    :param encoder: changed in place; without adapters nothing changes.
    """
    merge: Any = getattr(encoder.transformer, "merge_and_unload", None)
    if merge is not None:
        encoder.transformer = merge()
