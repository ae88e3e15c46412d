"""Every precision of every architecture: near to torch, one space, the same bytes twice, safe operators."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder import Encoder
from cl_haystack.errors import ConfigurationError
from cl_haystack.export import MIN_COSINE, export_bundle
from cl_haystack.export.parity import measure_parity
from cl_haystack.training import SentenceEncoder
from cl_haystack.training.checkpoint import CheckpointLayout
from cl_haystack.training.dense import DenseLayer
from tests.tiny_architectures import ARCHITECTURES, TEXTS, make_tiny_transformer
from tests.tiny_model import make_tiny_checkpoint

PRECISIONS: tuple[Any, ...] = ("fp32", "fp16", "int8", "int8-block")
# Thirty-two random dimensions forgive less than 384 trained ones.
TINY_MIN_COSINE = {"fp32": 0.9999, "fp16": 0.9995, "int8": 0.95, "int8-block": 0.99}


def export(checkpoint: Path, out: Path, **options: Any) -> ModelBundle:
    """Export with a short proof; what the tests compare, they compare themselves."""
    texts = out.parent / "check.txt"
    texts.write_text("\n".join(TEXTS))
    return export_bundle(checkpoint, out, check_texts=texts, **options)


def make_checkpoint(folder: Path, architecture: str, **layout: Any) -> Path:
    """Write a checkpoint of an architecture, with two Dense layers unless the layout says otherwise."""
    layers = (DenseLayer(32, 24), DenseLayer(24, 16, bias=False, activation="Identity"))
    raw = SentenceEncoder.load(make_tiny_transformer(folder / "raw", architecture))
    torch.manual_seed(0)
    stated = CheckpointLayout(transformer=Path(), max_length=raw.max_length, **{"dense": layers, **layout})
    SentenceEncoder(raw.transformer, raw._hf_tokenizer, stated).save(folder / "checkpoint", training={})
    return folder / "checkpoint"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_precision_of_each_architecture(tmp_path: Path, architecture: str, precision: Any) -> None:
    checkpoint = make_checkpoint(tmp_path, architecture, normalize=True)
    bundle = export(checkpoint, tmp_path / "bundle", precision=precision, min_cosine=-1)
    parity = measure_parity(
        SentenceEncoder.load(checkpoint).encode_documents(TEXTS),
        Encoder.load(bundle).encode_documents(TEXTS),
    )
    assert parity.cosine_min >= TINY_MIN_COSINE[precision]
    assert bundle.manifest.numerics.precision == precision
    assert not bundle.manifest.numerics.batch_invariant  # because of the Dense layers


@pytest.mark.parametrize("pooling", ["mean", "cls+max", "weightedmean", "mean_sqrt_len_tokens", "lasttoken"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_texts_of_one_length_keep_their_bits_in_a_shared_run(
    tmp_path: Path, architecture: str, pooling: str
) -> None:
    checkpoint = make_checkpoint(tmp_path, architecture, pooling=pooling, dense=())
    bundle = export(checkpoint, tmp_path / "bundle")
    assert bundle.manifest.numerics.batch_invariant
    session = onnxruntime.InferenceSession(bundle.model_file)
    known = SentenceEncoder.load(checkpoint).config.vocab_size
    for tokens, rows in ((1, 16), (2, 16), (7, 5), (30, 3)):
        ids = np.random.default_rng(tokens).integers(5, known, (rows, tokens))
        names = [entry.name for entry in session.get_inputs()]
        inputs = {n: np.ones_like(ids) if "mask" in n else np.zeros_like(ids) for n in names}
        inputs["input_ids"] = ids
        together = session.run(None, inputs)[0]
        alone = [session.run(None, {n: v[[row]] for n, v in inputs.items()})[0][0] for row in range(rows)]
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_both_exporters_give_the_same(tmp_path: Path, architecture: str) -> None:
    checkpoint = make_checkpoint(tmp_path, architecture, query_prefix="query: ")
    theirs = export(checkpoint, tmp_path / "optimum", exporter="optimum")
    ours = export(checkpoint, tmp_path / "torch", exporter="torch")
    assert set(ours.manifest.graph.inputs) == set(theirs.manifest.graph.inputs)
    assert ours.manifest.graph.opset == theirs.manifest.graph.opset
    assert ours.space_id == theirs.space_id
    np.testing.assert_allclose(
        Encoder.load(ours).encode_queries(TEXTS), Encoder.load(theirs).encode_queries(TEXTS), atol=1e-6
    )


@pytest.mark.parametrize("exporter", ["optimum", "torch"])
def test_precisions_share_the_space_and_repeat_their_bytes(tmp_path: Path, exporter: Any) -> None:
    checkpoint = make_checkpoint(tmp_path, "bert")
    fp32 = export(checkpoint, tmp_path / "fp32", exporter=exporter)
    fingerprints = set()
    for precision in PRECISIONS:
        first, second = (
            export(checkpoint, tmp_path / name, precision=precision, exporter=exporter, min_cosine=-1)
            for name in ("first", "second")
        )
        assert first.manifest == second.manifest
        assert first.space_id == fp32.space_id
        fingerprints.add(first.fingerprint)
    assert len(fingerprints) == len(PRECISIONS)


def weights(bundle: Path) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(bundle / "model.onnx").graph.initializer}


def test_int8_uses_the_whole_range_and_a_scale_for_each_channel(tmp_path: Path) -> None:
    """Half the range, which onnxruntime calls reduce_range, would cost every CPU what old ones need."""
    bundle = export(make_tiny_checkpoint(tmp_path), tmp_path / "b", precision="int8", min_cosine=-1)
    tensors = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in weights(bundle.path).items()}
    quantized = [name for name in tensors if name.endswith("_quantized")]
    products = [name for name in quantized if "MatMul" in name or "qkv" in name]
    assert len(products) >= 2 * 4  # in each layer: attention, its output, two of the feed-forward
    assert all(np.abs(tensors[name].astype(int)).max() == 127 for name in products)
    scales = [tensors[name.replace("_quantized", "_scale")] for name in products]
    assert all(scale.size == tensors[name].shape[-1] for scale, name in zip(scales, products, strict=True))


def test_fp16_keeps_what_follows_the_transformer_in_fp32(tmp_path: Path) -> None:
    bundle = export(make_checkpoint(tmp_path, "bert"), tmp_path / "b", precision="fp16")
    kinds = {name: tensor.data_type for name, tensor in weights(bundle.path).items()}
    dense = [kind for name, kind in kinds.items() if name.startswith("dense.")]
    assert dense
    assert set(dense) == {onnx.TensorProto.FLOAT}
    trunk = [kind for name, kind in kinds.items() if name.startswith("transformer.")]
    assert trunk
    assert set(trunk) == {onnx.TensorProto.FLOAT16}
    output = onnx.load(bundle.path / "model.onnx").graph.output[0]
    assert output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-block"])
def test_attention_is_fused(tmp_path: Path, precision: Any) -> None:
    bundle = export(make_tiny_checkpoint(tmp_path), tmp_path / "b", precision=precision, min_cosine=-1)
    operators = [node.op_type for node in onnx.load(bundle.path / "model.onnx").graph.node]
    assert sum(name.endswith("Attention") for name in operators) == 2
    assert "Softmax" not in operators
    assert bundle.manifest.numerics.scheme.endswith("; fused attention")


def test_attention_of_another_form_stays_as_it_is_and_is_not_called_fused(tmp_path: Path) -> None:
    bundle = export(make_checkpoint(tmp_path, "mpnet"), tmp_path / "b", precision="int8", min_cosine=-1)
    assert bundle.manifest.numerics.scheme.endswith("; attention as traced")


@pytest.mark.parametrize("options", [{"precision": "int4"}, {"exporter": "tensorflow"}])
def test_unknown_choice_is_named_before_any_work(tmp_path: Path, options: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected one of"):
        export(tmp_path / "nowhere", tmp_path / "b", **options)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("precision", "cosine_min", "most_bytes"),
    [("int8-block", 0.9990, 61_000_000), ("int8", 0.98, 24_000_000)],
)
def test_real_model(
    base_model: Path, tmp_path: Path, precision: Any, cosine_min: float, most_bytes: int
) -> None:
    """Weights quantized by tensor would give 0.90, and embeddings left in fp32 47 MB."""
    bundle = export_bundle(base_model, tmp_path / "bundle", precision=precision)
    parity = bundle.manifest.parity
    assert parity is not None
    assert parity.cosine_min > cosine_min > MIN_COSINE[precision]
    assert bundle.manifest.files["model.onnx"].bytes < most_bytes
