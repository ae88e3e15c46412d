"""Weights between the base model and the tuned one (WiSE-FT): most of the gain, less forgetting.

Source: Wortsman et al. 2022, arXiv:2109.01903.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cl_haystack.training.lora import scaled_adapters

Weights = dict[str, Tensor]


def copy_of_weights(module: nn.Module) -> Weights:
    """Return the weights as they are now, in ordinary memory."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


@contextmanager
def averaged(module: nn.Module, base: Weights, base_weight: float) -> Iterator[None]:
    """Let a module have averaged weights while the block runs.

    :param module: the tuned model.
    :param base: the base model's weights.
    :param base_weight: share of the base model, 0 to 1.
    """
    if not base_weight:
        yield
        return
    if base.keys() != module.state_dict().keys():  # adapters beside the base model's weights
        with scaled_adapters(module, 1 - base_weight):
            yield
        return
    tuned = copy_of_weights(module)
    average(module, base, base_weight)
    try:
        yield
    finally:
        module.load_state_dict(tuned)


@torch.no_grad()
def average(module: nn.Module, base: Weights, base_weight: float) -> None:
    """Move a module's weights towards the base model's.

    :param module: the tuned model, changed in place.
    :param base: the base model's weights, by the same names.
    :param base_weight: share of the base model, 0 to 1.
    """
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.lerp_(base[name].to(value.device), base_weight)
