"""Trace with torch alone, where optimum cannot be installed: the graph is the one that optimum makes."""

from pathlib import Path

import torch
from torch import Tensor

from cl_haystack.bundle.manifest import OUTPUT_NAME
from cl_haystack.errors import ExportError
from cl_haystack.training.model import SentenceEncoder

OPSET = 18  # what optimum uses for these architectures; onnxruntime reads it since 1.14
_EXAMPLE_TOKENS = 16


def trace_with_torch(encoder: SentenceEncoder, file: Path) -> None:
    """Write the encoder as an ONNX file.

    :param encoder: loaded with ``attention="eager"``: only then can runtimes fuse the attention.
    :param file: where to write.
    :raises ExportError: torch cannot trace the model.
    """
    inputs = _example_inputs(encoder)
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in inputs}
    try:
        torch.onnx.export(
            encoder,
            tuple(inputs.values()),
            str(file),
            input_names=list(inputs),
            output_names=[OUTPUT_NAME],
            dynamic_axes={**axes, OUTPUT_NAME: {0: "batch_size"}},
            opset_version=OPSET,
            dynamo=False,  # the default since torch 2.9 writes a graph whose attention no tool fuses
        )
    except (RuntimeError, ValueError, TypeError, torch.onnx.OnnxExporterError) as error:
        raise ExportError(f"torch cannot export a {encoder.config.model_type} model ({error})") from error


def _example_inputs(encoder: SentenceEncoder) -> dict[str, Tensor]:
    """Return two texts, one of them padded: with a single one the tracer would fix the batch."""
    tokens = min(_EXAMPLE_TOKENS, encoder.max_length)
    token_ids = torch.ones((2, tokens), dtype=torch.int64)  # (batch, tokens)
    mask = torch.ones_like(token_ids)
    mask[1, tokens // 2 :] = 0
    inputs = {"input_ids": token_ids, "attention_mask": mask}
    if getattr(encoder.config, "type_vocab_size", 0) > 1:  # RoBERTa states one segment and needs no ids of it
        inputs["token_type_ids"] = torch.zeros_like(token_ids)
    return inputs
