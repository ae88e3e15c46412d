"""AdamW for fine-tuning: no decay on biases and norms, and lower layers that learn more slowly."""

import re
from typing import Any

import torch
from torch import nn

from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.loop import TrainedModel

_LAYER = re.compile(r"\.(?:layers?|h|block)\.(\d+)\.")
_LOSS_PARAMETERS_RATE = 10.0  # a scale that is learned is one number and needs larger steps than weights


def make_optimizer(model: TrainedModel, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return fused AdamW over the parameters that are trained.

    Layer ``l`` of ``n`` learns at ``layer_decay ** (n - l)`` of the rate, the embeddings at
    ``layer_decay ** n`` (Howard and Ruder 2018, arXiv:1801.06146, section 3.2).

    :param model: what is trained.
    :param config: rate, decay of weights and of layers.
    :returns: the optimizer.
    """
    encoder = [(name, p) for name, p in model.encoder.named_parameters() if p.requires_grad]
    num_layers = 1 + max((_layer_of(name) for name, _ in encoder), default=0)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in encoder:
        groups.setdefault((_layer_of(name), parameter.ndim > 1), []).append(parameter)
    options: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": config.learning_rate * config.layer_decay ** (num_layers - 1 - layer),
            "weight_decay": config.weight_decay if is_matrix else 0.0,
        }
        for (layer, is_matrix), parameters in groups.items()
    ]
    if own := list(model.losses.parameters()):
        options.append(
            {"params": own, "lr": config.learning_rate * _LOSS_PARAMETERS_RATE, "weight_decay": 0.0}
        )
    return torch.optim.AdamW(options, lr=config.learning_rate, fused=True)


def _layer_of(name: str) -> int:
    """Return the number of a parameter's layer, from 1; 0 for the embeddings."""
    found = _LAYER.search(name)
    return int(found.group(1)) + 1 if found else 0
