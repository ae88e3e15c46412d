"""Trace with optimum, which knows each architecture's inputs, example values and patches.

What is ours is only that the graph ends in ``sentence_embedding`` and not in token embeddings.
"""

from pathlib import Path
from typing import Any

import torch

from cl_haystack.bundle.manifest import OUTPUT_NAME
from cl_haystack.errors import ExportError
from cl_haystack.training.model import SentenceEncoder

try:
    from optimum.exporters.onnx import export
    from optimum.exporters.tasks import TasksManager
except ImportError as missing:
    raise ExportError(
        f"exporter 'optimum' needs optimum-onnx with transformers 4, which cannot be imported ({missing}): "
        "run pip install 'cl-haystack[export]', or choose exporter 'torch', which does without"
    ) from missing


def trace_with_optimum(encoder: SentenceEncoder, file: Path) -> None:
    """Write the encoder as an ONNX file.

    :param encoder: loaded with ``attention="eager"``: only then can runtimes fuse the attention.
    :param file: where to write.
    :raises ExportError: optimum does not know the architecture, or cannot trace it.
    """
    config = _sentence_embedding_config(encoder)
    try:
        export(encoder, config, file)
    except (RuntimeError, ValueError, TypeError, KeyError, torch.onnx.OnnxExporterError) as error:
        raise ExportError(f"optimum cannot export a {encoder.config.model_type} model ({error})") from error


def _sentence_embedding_config(encoder: SentenceEncoder) -> Any:
    """Return optimum's configuration of the architecture, with our output in place of its own."""
    model_type = encoder.config.model_type
    try:
        constructor = TasksManager.get_exporter_config_constructor(
            "onnx",
            model_type=model_type.replace("_", "-"),
            task="feature-extraction",
            library_name="transformers",
        )
    except (KeyError, ValueError) as error:
        raise ExportError(
            f"optimum has no ONNX configuration for a {model_type} model ({error}); try exporter 'torch'"
        ) from error
    config = constructor(encoder.config)
    outputs = {OUTPUT_NAME: {0: "batch_size"}}
    config.__class__ = type("SentenceEmbeddingConfig", (type(config),), {"outputs": outputs})
    return config
