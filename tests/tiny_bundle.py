"""A valid bundle of one kilobyte, and the means to make it wrong in one point."""

import json
from collections.abc import Iterable
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from cl_haystack.bundle.fingerprint import file_entry, fingerprint
from cl_haystack.bundle.manifest import Embedding, Graph, Manifest, Numerics, Text
from cl_haystack.bundle.manifest_file import manifest_bytes

SPACE = "0" * 32


def external_tensor() -> TensorProto:
    """Return a tensor whose values lie in a file outside the bundle."""
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    return tensor


def make_graph(nodes: Iterable[NodeProto] = (), weights: Iterable[TensorProto] = ()) -> GraphProto:
    """Return a graph with the right input and output."""
    vector = (TensorProto.FLOAT, [2])
    return helper.make_graph(
        list(nodes) or [helper.make_node("Add", ["x", "w"], ["sentence_embedding"])],
        "g",
        [helper.make_tensor_value_info("x", *vector)],
        [helper.make_tensor_value_info("sentence_embedding", *vector)],
        list(weights) or [helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])],
    )


def make_model(
    graph: GraphProto | None = None, *, opset: int = 17, domains: Iterable[str] = ()
) -> ModelProto:
    """Return a model that imports the default operators and those of some domains."""
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph or make_graph(), opset_imports=imports, ir_version=8)


def write_model(folder: Path, model: ModelProto | bytes) -> None:
    """Put another model into a bundle, with a manifest that belongs to it."""
    content = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    write_manifest(folder)


def write_manifest(folder: Path, **changes: object) -> None:
    """Write the manifest of the files that are there, with some of its fields replaced."""
    files = {name: file_entry(folder / name) for name in ("model.onnx", "tokenizer.json")}
    manifest = Manifest(
        name="tiny",
        space_id=SPACE,
        fingerprint=fingerprint(SPACE, files, "fp32", 16),
        files=files,
        embedding=Embedding(dimension=2, pooling="mean", normalize=True, similarity="cosine"),
        text=Text(max_length=16),
        numerics=Numerics(precision="fp32", scheme="as trained", batch_invariant=False),
        graph=Graph(inputs=("input_ids", "attention_mask"), opset=17, ir_version=8),
    )
    content = manifest_bytes(manifest)
    if changes:  # as somebody would write it who knows how to leave out the checksum
        content = json.dumps(manifest.model_dump(mode="json") | changes).encode()
    (folder / "manifest.json").write_bytes(content)


def make_tiny_bundle(folder: Path) -> Path:
    """Write the valid bundle."""
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    write_model(folder, make_model())
    return folder
