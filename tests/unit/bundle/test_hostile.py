"""Bundles that somebody made to do harm: each is refused with its own message, before anything is opened."""

import os
import shutil
import stat
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from cl_haystack.bundle import ModelBundle, files, onnx_safety
from cl_haystack.errors import BundleError
from tests.tiny_bundle import external_tensor, make_graph, make_model, write_manifest, write_model


def refused(folder: Path) -> str:
    """Load, expect a refusal, return its message."""
    with pytest.raises(BundleError) as caught:
        ModelBundle.load(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "sub/model.onnx",
        "C:\\model.onnx",
        "model.onnx/",
        "MODEL.ONNX",
        "model.onnx\0",
        "weights.pkl",
        "",
        ".",
        "manifest.json",
        "x" * 100_000,
    ],
)
def test_names_outside_the_format(folder: Path, name: str) -> None:
    good = ModelBundle.load(folder).manifest.model_dump(mode="json")["files"]
    write_manifest(folder, files={**good, name: {"sha256": "0" * 64, "bytes": 1}})
    message = refused(folder)
    assert "is not a file of a bundle" in message
    assert len(message) < 500


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "tokenizer.json"])
def test_link_out_of_the_bundle(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.move(folder / name, tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    assert f"{name}: is a link that leads out of the bundle" in refused(folder)


def test_link_through_a_folder_that_leads_out(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.move(folder / "model.onnx", outside / "model.onnx")
    (folder / "inside").symlink_to(outside)
    (folder / "model.onnx").symlink_to("inside/model.onnx")
    assert "leads out of the bundle" in refused(folder)


def test_links_within_the_bundle_are_followed(folder: Path) -> None:
    """Kubernetes mounts configuration like this."""
    (folder / "..data").mkdir()
    shutil.move(folder / "model.onnx", folder / "..data" / "model.onnx")
    (folder / "model.onnx").symlink_to("..data/model.onnx")
    assert ModelBundle.load(folder).dimension == 2


@pytest.mark.parametrize("target", ["model.onnx", "gone"])
def test_link_to_itself_or_to_nothing(folder: Path, target: str) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(target)
    assert "is a link to nothing" in refused(folder)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_named_pipe_is_not_opened(folder: Path, name: str) -> None:
    """Opening it would block for ever."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "is a named pipe" in refused(folder)


def test_directory_in_place_of_a_file(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    assert "is a directory" in refused(folder)


def test_device_in_place_of_a_file(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    try:
        os.mknod(folder / "model.onnx", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")
    assert "is a device" in refused(folder)


@pytest.mark.parametrize("name", list(files.MAX_BYTES))
def test_size_limits(folder: Path, name: str) -> None:
    """The files are sparse: they take no space, and would take minutes to read."""
    too_large = files.MAX_BYTES[name] + 1
    stated = ModelBundle.load(folder).manifest.model_dump(mode="json")["files"]
    if name != "manifest.json":
        write_manifest(folder, files={**stated, name: {"sha256": "0" * 64, "bytes": too_large}})
    (folder / name).touch()
    os.truncate(folder / name, too_large)
    assert f"{name}: has {too_large:,} bytes, at most" in refused(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"name": "tiny"', '"name": "tiny", "name": "other"', "gives the key 'name' twice"),
        ('"max_length": 16', '"max_length": 16, "max_length": 32', "gives the key 'max_length' twice"),
        ('"calibration": {}', '"calibration": {"x": NaN}', "finite number"),
        ('"calibration": {}', '"calibration": {"x": -Infinity}', "finite number"),
        ('"calibration": {}', '"calibration": {"x": 1e999}', "finite number"),
        ('"training": {}', '"training": {"x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('"training": {}', '"training": {"x": ' + "[" * 500 + "]" * 500 + "}", "recursion limit"),
        ('"training": {}', '"training": {"x": ' + "9" * 5000 + "}", "digits"),
        ('"name": "tiny"', r'"name": "\ud800"', "hex escape"),
    ],
)
def test_json_that_two_readers_would_read_differently(folder: Path, old: str, new: str, message: str) -> None:
    content = (folder / "manifest.json").read_text()
    assert old in content
    (folder / "manifest.json").write_text(content.replace(old, new))
    assert message in refused(folder)
    assert len(refused(folder)) < 500


def sparse(values: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(
        values=values, indices=helper.make_tensor("i", TensorProto.INT64, [2], [0, 1]), dims=[2]
    )


def in_initializer() -> onnx.ModelProto:
    return make_model(make_graph(weights=[external_tensor()]))


def in_subgraph() -> onnx.ModelProto:
    inner = make_graph(weights=[external_tensor()])
    node = helper.make_node("If", ["x"], ["sentence_embedding"], then_branch=inner, else_branch=inner)
    return make_model(make_graph([node]))


def in_subgraph_of_subgraph() -> onnx.ModelProto:
    inner = in_subgraph().graph
    node = helper.make_node("If", ["x"], ["sentence_embedding"], then_branch=inner, else_branch=inner)
    return make_model(make_graph([node]))


def in_attribute() -> onnx.ModelProto:
    return make_model(make_graph([helper.make_node("Constant", [], ["s"], value=external_tensor())]))


def in_list_attribute() -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["s"])
    node.attribute.add(name="v", type=onnx.AttributeProto.TENSORS, tensors=[external_tensor()])
    return make_model(make_graph([node]))


def in_sparse_initializer() -> onnx.ModelProto:
    model = make_model()
    model.graph.sparse_initializer.append(sparse(external_tensor()))
    return model


def in_sparse_attribute() -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["s"], sparse_value=sparse(external_tensor()))
    return make_model(make_graph([node]))


def in_function() -> onnx.ModelProto:
    model = make_model()
    node = helper.make_node("Constant", [], ["s"], value=external_tensor())
    model.functions.append(helper.make_function("", "F", [], ["s"], [node], [helper.make_opsetid("", 17)]))
    return model


def in_default_of_a_function() -> onnx.ModelProto:
    model = make_model()
    default = onnx.AttributeProto(name="v", type=onnx.AttributeProto.TENSOR, t=external_tensor())
    model.functions.append(onnx.FunctionProto(name="F", attribute_proto=[default]))
    return model


def in_training_graph() -> onnx.ModelProto:
    model = make_model()
    model.training_info.add(algorithm=make_graph(weights=[external_tensor()]))
    return model


@pytest.mark.parametrize(
    "make",
    [
        in_initializer,
        in_subgraph,
        in_subgraph_of_subgraph,
        in_attribute,
        in_list_attribute,
        in_sparse_initializer,
        in_sparse_attribute,
        in_function,
        in_default_of_a_function,
        in_training_graph,
    ],
)
def test_external_data_wherever_it_hides(folder: Path, make: object) -> None:
    write_model(folder, make())  # type: ignore[operator]
    assert "external data" in refused(folder)


def test_external_data_behind_a_number_that_runtimes_cut_to_32_bits(folder: Path) -> None:
    """Field 13 of the tensor (external_data), spelled with a 33rd bit."""
    plain = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]).SerializeToString()
    entry = b"\x0a\x08location\x12\x01x"
    hidden = b"\xea\x80\x80\x80\x10" + bytes([len(entry)]) + entry
    model = make_model().SerializeToString()
    assert model.count(plain) == 1
    graph = onnx.load_from_string(model).graph.SerializeToString()
    longer = graph.replace(bytes([len(plain)]) + plain, bytes([len(plain) + len(hidden)]) + plain + hidden)
    assert len(longer) == len(graph) + len(hidden)
    write_model(folder, model.replace(bytes([len(graph)]) + graph, bytes([len(longer)]) + longer))
    assert "no valid number" in refused(folder)


@pytest.mark.parametrize("place", ["import", "node", "subgraph", "function"])
def test_custom_operators(folder: Path, place: str) -> None:
    domain = "evil.ops\x1b[31m"
    node = helper.make_node("Add", ["x", "w"], ["sentence_embedding"], domain=domain)
    if place == "import":
        model = make_model(domains=[domain])
    elif place == "node":
        model = make_model(make_graph([node]))
    elif place == "subgraph":
        inner = make_graph([node])
        outer = helper.make_node("If", ["x"], ["sentence_embedding"], then_branch=inner, else_branch=inner)
        model = make_model(make_graph([outer]))
    else:
        model = make_model()
        model.functions.append(onnx.FunctionProto(name="F", domain=domain))
    write_model(folder, model)
    assert r"domain 'evil.ops\x1b[31m'" in refused(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a model", b"\x80" * 100, b"\x3a\xff\xff\xff\x0f", b"\x80\x04pickle", b"\x3a\x02\x0a\x05"],
)
def test_file_that_is_no_onnx(folder: Path, content: bytes) -> None:
    write_model(folder, content)
    assert "not an ONNX model" in refused(folder)


def test_model_of_endless_fields(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_safety, "_MAX_FIELDS", 1000)
    write_model(folder, make_model().SerializeToString() + b"\x35\0\0\0\0" * 1000)
    assert "more than 1,000 fields" in refused(folder)


def test_model_nested_without_end(folder: Path) -> None:
    node = b""
    for _ in range(200):  # a node with an attribute with a graph with a node …
        for key in (b"\x32", b"\x2a", b"\x0a"):
            node = key + onnx_varint(len(node)) + node
    write_model(folder, b"\x08\x08\x3a" + onnx_varint(len(node)) + node)
    assert "nested more than 100 deep" in refused(folder)


def onnx_varint(number: int) -> bytes:
    digits = []
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
