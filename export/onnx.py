"""Checkpoint to ONNX graph: trace, change the number format, and leave nothing that differs between two runs.

Pooling, Dense layers and normalization are inside; one output.
"""

import copy
from pathlib import Path
from typing import Literal

import onnx

from cl_haystack.bundle.files import MAX_BYTES
from cl_haystack.bundle.manifest import MODEL_FILE, Graph, Precision
from cl_haystack.errors import ExportError
from cl_haystack.export.precision import convert_precision
from cl_haystack.export.quiet import quiet
from cl_haystack.training.model import SentenceEncoder

Exporter = Literal["optimum", "torch"]


def to_onnx(
    encoder: SentenceEncoder, file: Path, *, precision: Precision = "fp32", exporter: Exporter = "optimum"
) -> tuple[Graph, str]:
    """Write the encoder as one ONNX file.

    :param encoder: loaded with ``attention="eager"``: only then can runtimes fuse the attention.
    :param file: where to write.
    :param precision: number format of the transformer.
    :param exporter: what traces the model.
    :returns: inputs, output and versions of the graph; and how it got its precision, in words.
    :raises ExportError: the exporter is not installed, or the model is too large or cannot be traced or
        converted.
    """
    if precision == "fp16":
        encoder = copy.deepcopy(encoder)
        encoder.transformer.half()  # pooling widens again
    _check_size(encoder)
    with quiet():
        if exporter == "optimum":
            from cl_haystack.export.trace_optimum import trace_with_optimum

            trace_with_optimum(encoder, file)
        else:
            from cl_haystack.export.trace_torch import trace_with_torch

            trace_with_torch(encoder, file)
        scheme = convert_precision(file, precision, encoder.config)
    return _finish(file), scheme


def _check_size(encoder: SentenceEncoder) -> None:
    """Refuse what fits no single ONNX file; int8 begins as fp32 too."""
    size = sum(parameter.numel() * parameter.element_size() for parameter in encoder.parameters())
    if size > (limit := MAX_BYTES[MODEL_FILE]):
        raise ExportError(
            f"the model has {size:,} bytes of weights as it is traced, and one ONNX file can hold {limit:,}; "
            "take a smaller model, or precision fp16 if half of it fits"
        )


def _finish(file: Path) -> Graph:
    """Check the graph and drop what differs between two exports of one checkpoint: notes on the producer."""
    model = onnx.load(file)
    model.producer_name, model.producer_version, model.doc_string = "", "", ""
    del model.metadata_props[:]
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
