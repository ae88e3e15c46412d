"""The graph in another number format: fuse what runtimes have one kernel for, then change the weights.

* ``fp32``: as traced. onnxruntime fuses what it can when it loads the graph, and standard operators are read
  by every runtime.
* ``fp16``: for GPUs. The transformer was traced in half precision, pooling and what follows in fp32.
* ``int8``: activations are quantized as they come, with one scale for a whole tensor; weights per output
  channel, without which MiniLM's lowest cosine falls from 0.99 to 0.90. No ``reduce_range``: one file serves
  every CPU, and the encoder sets what CPUs without VNNI need.
* ``int8-block``: weights in blocks of 32 with a scale each, activations by row: nearer to fp32, less fast.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from cl_haystack.bundle.manifest import Precision
from cl_haystack.errors import ExportError, MissingExtraError

_BLOCK_SIZE = 32
_INT8_ACTIVATIONS = 4  # onnxruntime's accuracy_level: multiply in int8, not in fp32


def convert_precision(file: Path, precision: Precision, config: Any) -> str:
    """Rewrite a traced graph in place.

    :param file: the graph.
    :param precision: the number format; for ``fp16`` the graph must have been traced in it.
    :param config: the transformer's configuration, for the sizes of its attention.
    :returns: what was done, in words: the manifest's ``numerics.scheme``.
    :raises ExportError: a tool refuses the graph.
    """
    try:
        return _CONVERSIONS[precision](file, config)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise ExportError(
            f"the graph of a {config.model_type} model cannot be converted to {precision} ({error})"
        ) from error


def _as_traced(_: Path, __: Any) -> str:
    return "as trained"


def _half(file: Path, config: Any) -> str:
    return f"fp16 transformer, fp32 pooling; {_fuse(file, config, keep_additions=False)}"


def _dynamic_int8(file: Path, config: Any) -> str:
    fused = _fuse(file, config)
    quantize_dynamic(
        str(file),
        str(file),
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # types behind fused nodes are unknown
    )
    return f"dynamic int8: weights by channel, activations by tensor; {fused}"


def _block_int8(file: Path, config: Any) -> str:
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as missing:
        raise MissingExtraError(missing.name or "onnx-ir", "export") from missing
    fused = _fuse(file, config, keep_projections=True)
    quantizer = MatMulNBitsQuantizer(
        onnx.load(file),
        bits=8,
        block_size=_BLOCK_SIZE,
        is_symmetric=True,
        accuracy_level=_INT8_ACTIVATIONS,
    )
    quantizer.process()
    onnx.save(quantizer.model.model, file)
    return f"int8 weights in blocks of {_BLOCK_SIZE}, activations by row; {fused}"


def _fuse(file: Path, config: Any, *, keep_projections: bool = False, keep_additions: bool = True) -> str:
    """Put attention, layer normalization and GELU into one node each, where the architecture has their form.

    The embeddings are left as they are: the fused node counts padding in its own way, and gains nothing.

    :param file: the graph.
    :param config: the transformer's configuration.
    :param keep_projections: leave the projections of queries, keys and values as matrix products of their
        own, which a quantizer of matrix products finds.
    :param keep_additions: leave additions apart from the layer normalization or GELU that follows, which is
        faster on a CPU (see ``encoder.session``) and slower on a GPU.
    :returns: whether the attention was fused, in words.
    """
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False
    options.use_multi_head_attention = keep_projections
    options.enable_skip_layer_norm = not keep_additions
    options.enable_bias_skip_layer_norm = not keep_additions
    options.enable_bias_gelu = not keep_additions
    fused = optimize_model(
        str(file),
        model_type="bert",  # the form of every encoder here; what has another form stays as it is
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=0,  # onnxruntime's own fusions are made when a session opens, for the device at hand
        optimization_options=options,
    )
    fused.save_model_to_file(str(file))
    counts = fused.get_fused_operator_statistics()
    # MPNet's relative positions, ModernBERT's rotary ones and some masks of transformers 5 have no such form.
    return "fused attention" if counts["Attention"] + counts["MultiHeadAttention"] else "attention as traced"


_CONVERSIONS: Mapping[Precision, Callable[[Path, Any], str]] = {
    "fp32": _as_traced,
    "fp16": _half,
    "int8": _dynamic_int8,
    "int8-block": _block_int8,
}
