"""The package for ml-commons, read as its Java code reads it."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder import Encoder
from cl_haystack.encoder.cpu import multiplies_int8_exactly
from cl_haystack.errors import ExportError
from cl_haystack.export import export_bundle
from cl_haystack.export import ml_commons as ml_commons_module
from cl_haystack.export.ml_commons import write_ml_commons
from tests.tiny_model import make_tiny_checkpoint

TEXTS = ["the cat sat on the mat", "dog", "red house " * 30]


class JavaTwin:
    """``ONNXSentenceTransformerTextEmbeddingTranslator``, in Python: one text at a time, pooled by CLS."""

    def __init__(self, package: Path, folder: Path, config: dict[str, Any]) -> None:
        with zipfile.ZipFile(package) as content:
            assert sorted(content.namelist()) == ["model.onnx", "tokenizer.json"]
            content.extractall(folder)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.session = onnxruntime.InferenceSession(folder / "model.onnx")
        self.config = config

    def embed(self, text: str) -> np.ndarray[Any, Any]:
        encoding = self.tokenizer.encode(text)
        inputs = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask}
        if self.config["model_type"] in ("bert", "albert"):
            inputs["token_type_ids"] = encoding.type_ids
        output = self.session.run(None, {name: np.array([ids]) for name, ids in inputs.items()})[0]
        embeddings = output[0] if output.ndim == 3 else output
        assert self.config["pooling_mode"] == "CLS"
        embedding = embeddings[0]
        return embedding / np.linalg.norm(embedding) if self.config["normalize_result"] else embedding


@pytest.mark.parametrize("pooling", ["mean", "lasttoken"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_cluster_embeds_as_the_bundle_does(tmp_path: Path, pooling: str, precision: Any) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path, pooling=pooling)
    bundle = export_bundle(checkpoint, tmp_path / "bundle", precision=precision, min_cosine=0.9)
    request = json.loads(write_ml_commons(bundle, tmp_path / "tiny.zip", model_type="bert").read_text())
    twin = JavaTwin(tmp_path / "tiny.zip", tmp_path / "unpacked", request["model_config"])
    expected = Encoder.load(bundle).encode_documents(TEXTS)
    # The encoder asks onnxruntime for exact sums where the processor's own saturate; ml-commons cannot.
    saturates = precision == "int8" and not multiplies_int8_exactly()
    found = np.stack([twin.embed(text) for text in TEXTS])
    np.testing.assert_allclose(found, expected, atol=0.01 if saturates else 1e-6)


def test_request_has_what_registering_needs(tmp_path: Path) -> None:
    bundle = export_bundle(make_tiny_checkpoint(tmp_path), tmp_path / "bundle", name="tiny")
    package = tmp_path / "new" / "tiny.zip"
    request = json.loads(write_ml_commons(bundle, package, model_type="bert").read_text())
    assert request["model_content_hash_value"] == hashlib.sha256(package.read_bytes()).hexdigest()
    assert request["model_content_size_in_bytes"] == package.stat().st_size
    assert (request["name"], request["model_format"]) == ("tiny", "ONNX")
    assert request["model_config"]["embedding_dimension"] == 16
    assert json.loads(request["model_config"]["all_config"])["space_id"] == bundle.space_id
    again = write_ml_commons(bundle, tmp_path / "again.zip", model_type="bert")
    assert json.loads(again.read_text())["model_content_hash_value"] == request["model_content_hash_value"]


def test_what_its_onnxruntime_cannot_read_is_refused(tmp_path: Path) -> None:
    bundle = export_bundle(make_tiny_checkpoint(tmp_path), tmp_path / "bundle")
    graph = bundle.manifest.graph.model_copy(update={"opset": 21})
    newer = ModelBundle(bundle.path, bundle.manifest.model_copy(update={"graph": graph}))
    with pytest.raises(ExportError, match="opset 21"):
        write_ml_commons(newer, tmp_path / "tiny.zip", model_type="bert")
    with pytest.raises(ExportError, match="cannot run fp16 models"):
        export_bundle(
            tmp_path / "checkpoint", tmp_path / "b", precision="fp16", ml_commons=tmp_path / "x.zip"
        )
    assert not (tmp_path / "b").exists()


def test_a_package_is_a_zip_file(tmp_path: Path) -> None:
    """With .json the request would take the package's place."""
    with pytest.raises(ExportError, match=r"name it tiny\.json\.zip"):
        export_bundle(make_tiny_checkpoint(tmp_path), tmp_path / "b", ml_commons=tmp_path / "tiny.json")
    assert not (tmp_path / "b").exists()


def an_archive(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("thesis.txt", "mine")


@pytest.mark.parametrize("name", ["tiny.zip", "tiny.json"])
@pytest.mark.parametrize("make", [an_archive, lambda file: file.write_text('{"my": "settings"}'), Path.mkdir])
def test_foreign_files_are_never_replaced(tmp_path: Path, name: str, make: Callable[[Path], object]) -> None:
    make(tmp_path / name)
    with pytest.raises(ExportError, match=rf"{name} exists and is something else"):
        export_bundle(make_tiny_checkpoint(tmp_path), tmp_path / "b", ml_commons=tmp_path / "tiny.zip")
    assert not (tmp_path / "b").exists()


def test_a_package_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = export_bundle(make_tiny_checkpoint(tmp_path), tmp_path / "bundle", name="first")
    request = write_ml_commons(bundle, tmp_path / "tiny.zip", model_type="bert")
    before = (tmp_path / "tiny.zip").read_bytes(), request.read_bytes()
    renamed = ModelBundle(bundle.path, bundle.manifest.model_copy(update={"name": "second"}))
    with monkeypatch.context() as patch:
        patch.setattr(ml_commons_module, "_tokenizer", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(ExportError, match="full"):
            write_ml_commons(renamed, tmp_path / "tiny.zip", model_type="bert")
    assert ((tmp_path / "tiny.zip").read_bytes(), request.read_bytes()) == before
    assert not list(tmp_path.glob(".tiny*"))
    write_ml_commons(renamed, tmp_path / "tiny.zip", model_type="bert")
    assert json.loads(request.read_text())["name"] == "second"
