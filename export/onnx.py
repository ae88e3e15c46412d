"""Checkpoint to ONNX graph through optimum: pooling and normalization inside, one output.

optimum knows each architecture's inputs, dummy values and patches; what is ours is only that the graph ends
in ``sentence_embedding`` and not in token embeddings.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from optimum.exporters.onnx import export
from optimum.exporters.tasks import TasksManager

from cl_haystack.bundle.manifest import OUTPUT_NAME, Graph
from cl_haystack.errors import ExportError
from cl_haystack.training.model import SentenceEncoder


def to_onnx(encoder: SentenceEncoder, file: Path) -> Graph:
    """Write the encoder as one ONNX file.

    :param encoder: loaded with ``attention="eager"``: only then can runtimes fuse the attention.
    :param file: where to write.
    :returns: inputs, output and versions of the graph.
    :raises ExportError: optimum does not know the architecture, or cannot trace it.
    """
    config = _sentence_embedding_config(encoder)
    try:
        with _quiet():
            export(encoder, config, file)
    except (RuntimeError, ValueError, TypeError, KeyError, torch.onnx.OnnxExporterError) as error:
        raise ExportError(f"optimum cannot export a {encoder.config.model_type} model ({error})") from error
    return _finish(file)


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
        raise ExportError(f"optimum has no ONNX configuration for a {model_type} model ({error})") from error
    config = constructor(encoder.config)
    outputs = {OUTPUT_NAME: {0: "batch_size"}}
    config.__class__ = type("SentenceEmbeddingConfig", (type(config),), {"outputs": outputs})
    return config


def _finish(file: Path) -> Graph:
    """Check the graph and drop what differs between two exports of one checkpoint: notes on the producer."""
    model = onnx.load(file)
    model.producer_name, model.producer_version, model.doc_string = "", "", ""
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, file)
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return Graph(
        inputs=tuple(entry.name for entry in model.graph.input),
        output=model.graph.output[0].name,
        opset=opsets[0],
        ir_version=model.ir_version,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the tracer's warnings: they speak of Python branches that our parity check covers."""
    loggers = [logging.getLogger(name) for name in ("optimum", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
