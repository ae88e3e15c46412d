"""Loading a bundle: what is right loads, what is not is refused with its own message."""

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.fingerprint import file_entry, fingerprint
from cl_haystack.bundle.manifest import Embedding, Graph, Manifest, Numerics, Text
from cl_haystack.errors import BundleError

SPACE = "0" * 32


def write_graph(path: Path, *, domain: str = "", external: bool = False, opset: int = 17) -> None:
    """Write a tiny valid graph; on request with a custom operator or a tensor in another file."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    if external:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", "../secret.bin"
    node = helper.make_node("Add", ["x", "w"], ["sentence_embedding"], domain=domain)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, [2])],
        [weight],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())


def write_manifest(folder: Path, **changes: object) -> None:
    files = {name: file_entry(folder / name) for name in ("model.onnx", "tokenizer.json")}
    manifest = Manifest(
        name="tiny",
        space_id=SPACE,
        fingerprint=fingerprint(SPACE, files, "fp32", 16),
        files=files,
        embedding=Embedding(dimension=2, pooling="mean", normalize=True, similarity="cosine"),
        text=Text(max_length=16),
        numerics=Numerics(precision="fp32", scheme="as trained", batch_invariant=False),
        graph=Graph(inputs=("x",), opset=17, ir_version=8),
    )
    content = manifest.model_dump(mode="json") | changes
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    write_graph(bundle / "model.onnx")
    (bundle / "tokenizer.json").write_text("{}")
    write_manifest(bundle)
    return bundle


def test_good_bundle_loads_and_tells_what_it_is(folder: Path) -> None:
    bundle = ModelBundle.load(folder)
    assert (bundle.dimension, bundle.similarity, bundle.precision, bundle.space_id) == (
        2,
        "cosine",
        "fp32",
        SPACE,
    )
    assert bundle.fingerprint.startswith(bundle.short_fingerprint)
    assert "tiny" in bundle.label


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("manifest.json", "holds no manifest.json"),
        ("model.onnx", "is missing"),
        ("tokenizer.json", "is missing"),
    ],
)
def test_missing_file_is_named(folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(BundleError, match=message) as caught:
        ModelBundle.load(folder)
    assert missing in str(caught.value)


def test_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such directory"):
        ModelBundle.load(tmp_path / "nowhere")


def test_checkpoint_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="looks like a checkpoint"):
        ModelBundle.load(tmp_path)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_one_changed_byte_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match="SHA-256"):
        ModelBundle.load(folder)


def test_truncated_model_is_found_without_hashing(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1])
    with pytest.raises(BundleError, match="truncated"):
        ModelBundle.load(folder, verify=False)


def test_swapped_tokenizer_changes_the_fingerprint(folder: Path) -> None:
    before = ModelBundle.load(folder).fingerprint
    (folder / "tokenizer.json").write_text('{"other": 1}')
    write_manifest(folder)
    assert ModelBundle.load(folder).fingerprint != before
    write_manifest(folder, fingerprint=before)
    with pytest.raises(BundleError, match="fingerprint"):
        ModelBundle.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version 2"),
        ({"format": "other"}, "not a cl-haystack manifest"),
        ({"surprise": 1}, "surprise"),
        ({"space_id": "xyz"}, "space_id"),
        ({"files": {"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}}}, "not a file of a bundle"),
        ({"files": {}}, "does not name model.onnx"),
    ],
)
def test_foreign_manifest_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    write_manifest(folder, **changes)
    with pytest.raises(BundleError, match=message):
        ModelBundle.load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_manifest_that_is_no_json_object(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="not a JSON object"):
        ModelBundle.load(folder)


def test_link_out_of_the_bundle_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.onnx", tmp_path / "outside.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        ModelBundle.load(folder)


def test_external_data_is_refused(folder: Path) -> None:
    write_graph(folder / "model.onnx", external=True)
    write_manifest(folder)
    with pytest.raises(BundleError, match="external data"):
        ModelBundle.load(folder)


def test_custom_operators_are_refused(folder: Path) -> None:
    write_graph(folder / "model.onnx", domain="evil.ops")
    write_manifest(folder)
    with pytest.raises(BundleError, match=r"evil\.ops"):
        ModelBundle.load(folder)


def test_external_data_inside_a_subgraph_is_refused(folder: Path) -> None:
    write_graph(folder / "inner.onnx", external=True)
    inner = onnx.load(folder / "inner.onnx", load_external_data=False).graph
    (folder / "inner.onnx").unlink()
    node = helper.make_node("If", ["c"], ["sentence_embedding"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    write_manifest(folder)
    with pytest.raises(BundleError, match="external data"):
        ModelBundle.load(folder)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80" * 100, b"\x3a\xff\xff\xff\x0f"])
def test_file_that_is_no_onnx_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)
    write_manifest(folder)
    with pytest.raises(BundleError, match="not an ONNX model"):
        ModelBundle.load(folder)


def test_opset_is_compared_with_the_manifest(folder: Path) -> None:
    write_graph(folder / "model.onnx", opset=16)
    write_manifest(folder)
    with pytest.raises(BundleError, match="opset 16"):
        ModelBundle.load(folder)
