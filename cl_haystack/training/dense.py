"""Dense layers on top of pooling: a linear layer and an activation, as sentence-transformers stores them.

A layer's folder holds ``config.json`` and ``model.safetensors`` with ``linear.weight`` and ``linear.bias``.
Weights in any other form are pickles, which can run code when they are opened; they are refused.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_haystack.errors import CheckpointError

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
_ACTIVATIONS = {  # by the class names of torch.nn; where they live there is torch's own matter
    name: f"torch.nn.modules.{module}.{name}"
    for module, names in {
        "activation": ("ELU", "GELU", "Hardtanh", "LeakyReLU", "Mish", "ReLU", "Sigmoid", "SiLU", "Tanh"),
        "linear": ("Identity",),
    }.items()
    for name in names
}


@dataclass(frozen=True)
class DenseLayer:
    """What a Dense module's configuration says.

    :param in_features: length of the vector that enters.
    :param out_features: length of the vector that leaves.
    :param bias: whether a bias is added.
    :param activation: a class of ``torch.nn``, such as ``Tanh`` or ``Identity``.
    :param folder: where its weights are; None for a layer that was never saved.
    """

    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Tanh"
    folder: Path | None = None


def read_dense(folder: Path, config: dict[str, Any]) -> DenseLayer:
    """Read a Dense module's configuration; its weights stay where they are.

    :param folder: the module's folder.
    :param config: the content of its ``config.json``.
    :returns: the layer.
    :raises CheckpointError: the weights are no safetensors, or the layer does something else than described.
    """
    if not (folder / WEIGHTS_FILE).is_file():
        found = ", ".join(sorted(path.name for path in folder.glob("*.bin"))) or "no weights"
        raise CheckpointError(
            folder,
            f"holds {found}, but only {WEIGHTS_FILE} is read, since a pickle can run code; load the model "
            "with sentence-transformers and save it again, which writes safetensors",
        )
    activation = str(
        config.get("activation_function", _ACTIVATIONS["Tanh"])
    )  # sentence-transformers' default
    name = activation.rsplit(".", 1)[-1]
    if not activation.startswith("torch.nn.") or name not in _ACTIVATIONS:
        raise CheckpointError(
            folder / CONFIG_FILE,
            f"names the activation {activation!r}; supported are torch.nn's {', '.join(_ACTIVATIONS)}",
        )
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise CheckpointError(
                folder / CONFIG_FILE,
                f"has {key} {config[key]!r}; only layers of the sentence_embedding are supported",
            )
    try:
        sizes = int(config["in_features"]), int(config["out_features"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(folder / CONFIG_FILE, f"states no usable sizes ({error!r})") from error
    return DenseLayer(*sizes, bias=bool(config.get("bias", True)), activation=name, folder=folder)


def write_dense_config(folder: Path, layer: DenseLayer) -> None:
    """Write the configuration of a Dense module; the weights are the caller's.

    :param folder: the module's folder, which exists.
    :param layer: what to state.
    """
    config = {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": layer.bias,
        "activation_function": _ACTIVATIONS[layer.activation],
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
