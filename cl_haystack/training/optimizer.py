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
    ``layer_decay ** n``, what follows the layers at the full one (Howard and Ruder 2018, arXiv:1801.06146,
    section 3.2).

    :param model: what is trained.
    :param config: rate, decay of weights and of layers.
    :returns: the optimizer.
    """
    rate = config.learning_rate
    assert rate is not None  # the trainer has chosen one
    encoder = [(_layer_of(name), p) for name, p in model.encoder.named_parameters() if p.requires_grad]
    top = max((layer for layer, _ in encoder if layer is not None), default=0)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for layer, parameter in encoder:
        groups.setdefault((top if layer is None else layer, parameter.ndim > 1), []).append(parameter)
    options: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": rate * config.layer_decay ** (top - layer),
            "weight_decay": config.weight_decay if is_matrix else 0.0,
        }
        for (layer, is_matrix), parameters in groups.items()
    ]
    if own := list(model.losses.parameters()):
        options.append({"params": own, "lr": rate * _LOSS_PARAMETERS_RATE, "weight_decay": 0.0})
    return torch.optim.AdamW(options, lr=rate, fused=True)


def _layer_of(name: str) -> int | None:
    """Return the number of a parameter's layer, from 1; 0 for the embeddings, None for what follows all."""
    found = _LAYER.search(name)
    if found:
        return int(found.group(1)) + 1
    return 0 if "emb" in name else None
