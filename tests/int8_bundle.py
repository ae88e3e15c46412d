"""A dynamic int8 twin of a bundle, and one whose graph keeps rows apart: what the encoder must cope with."""

import shutil
from pathlib import Path

import onnx
from onnx import helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.fingerprint import file_entry, fingerprint
from cl_haystack.bundle.manifest import MODEL_FILE, Numerics, Precision
from cl_haystack.bundle.manifest_file import manifest_bytes


def make_int8_bundle(bundle: Path, out: Path) -> Path:
    """Quantize weights before, activations while the graph runs: one scale for all rows of a batch."""
    shutil.copytree(bundle, out)
    quantize_dynamic(bundle / MODEL_FILE, out / MODEL_FILE, weight_type=QuantType.QInt8)
    return write_manifest(bundle, out, precision="int8", batch_invariant=False)


def make_invariant_bundle(bundle: Path, out: Path) -> Path:
    """Pool with a matrix product for each text, which is the same whatever stands in the other rows."""
    shutil.copytree(bundle, out)
    model = onnx.load(bundle / MODEL_FILE)
    nodes = model.graph.node
    place, pooled = next(
        (i, node) for i, node in enumerate(nodes) if node.op_type == "ReduceSum" and _sums_masked(nodes, node)
    )
    masked = next(node for node in nodes if node.output[0] == pooled.input[0])
    hidden, mask = masked.input  # (batch, tokens, hidden), (batch, tokens, 1)
    keep_dimension = next((a.i for a in pooled.attribute if a.name == "keepdims"), 1)
    assert not keep_dimension
    one = helper.make_tensor("pooled_axis", onnx.TensorProto.INT64, [1], [1])
    model.graph.initializer.append(one)
    replacement = [
        helper.make_node("Transpose", [mask], ["mask_row"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["mask_row", hidden], ["pooled_row"]),  # (batch, 1, hidden)
        helper.make_node("Squeeze", ["pooled_row", "pooled_axis"], [pooled.output[0]]),
    ]
    nodes.remove(pooled)
    for node in reversed(replacement):
        nodes.insert(place, node)
    onnx.save(model, out / MODEL_FILE)
    return write_manifest(bundle, out, precision="fp32", batch_invariant=True)


def write_manifest(bundle: Path, out: Path, *, precision: Precision, batch_invariant: bool) -> Path:
    """Describe ``out``, made of ``bundle``, whose model is another now."""
    before = ModelBundle.load(bundle).manifest
    files = {name: file_entry(out / name) for name in before.files}
    identity = fingerprint(
        before.space_id,
        {name: files[name] for name in (MODEL_FILE, "tokenizer.json")},
        precision,
        before.text.max_length,
    )
    numerics = Numerics(precision=precision, scheme="made for a test", batch_invariant=batch_invariant)
    manifest = before.model_copy(
        update={"files": files, "fingerprint": identity, "numerics": numerics, "calibration": {}}
    )
    (out / "manifest.json").write_bytes(manifest_bytes(manifest))
    return out


def _sums_masked(nodes: object, node: onnx.NodeProto) -> bool:
    return any(other.output[0] == node.input[0] and other.op_type == "Mul" for other in nodes)  # type: ignore[attr-defined]
