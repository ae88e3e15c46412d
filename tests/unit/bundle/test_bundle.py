"""Loading a bundle: what is right loads; what is missing, changed or of another version is named."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import BundleError
from tests.tiny_bundle import SPACE, make_model, make_tiny_bundle, write_manifest, write_model


def refused(folder: Path, *, verify: bool = True) -> str:
    """Load, expect a refusal, return its message."""
    with pytest.raises(BundleError) as caught:
        ModelBundle.load(folder, verify=verify)
    return str(caught.value)


def test_good_bundle_loads_and_tells_what_it_is(folder: Path) -> None:
    bundle = ModelBundle.load(folder)
    facts = (bundle.dimension, bundle.similarity, bundle.precision, bundle.space_id)
    assert facts == (2, "cosine", "fp32", SPACE)
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
    assert message in refused(folder)
    assert missing in refused(folder)


@pytest.mark.parametrize("path", ["nowhere", "nul\0byte"])
def test_directory_that_is_not_there(tmp_path: Path, path: str) -> None:
    assert "no such directory" in refused(tmp_path / path)


def test_path_that_cannot_be(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / ("x" * 5000))


def test_checkpoint_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "looks like a checkpoint" in refused(tmp_path)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("victim") / "bundle")


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["model.onnx", "tokenizer.json", "manifest.json"]), st.data())
def test_any_changed_byte_is_found(victim: Path, name: str, data: st.DataObject) -> None:
    content = (victim / name).read_bytes()
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (victim / name).write_bytes(changed)
    try:
        assert name in refused(victim)
    finally:
        (victim / name).write_bytes(content)
    assert ModelBundle.load(victim).dimension == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [('"query_prefix": ""', '"query_prefix": "query: "'), ('"tiny"', '"thin"'), ("{", "{ ")],
)
def test_edited_manifest_is_found_by_its_checksum(folder: Path, old: str, new: str) -> None:
    file = folder / "manifest.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    assert "states checksum" in refused(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_truncated_file_is_found_without_hashing(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    assert "truncated" in refused(folder, verify=False)


def test_without_verification_nothing_is_hashed(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(bytes(len(content)))
    assert ModelBundle.load(folder, verify=False).dimension == 2
    assert "SHA-256" in refused(folder)


def test_swapped_tokenizer_is_found_by_its_hash(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[]")
    assert "tokenizer.json: has SHA-256" in refused(folder)


def test_swapped_tokenizer_changes_the_fingerprint(folder: Path) -> None:
    before = ModelBundle.load(folder).fingerprint
    (folder / "tokenizer.json").write_text('{"other": 1}')
    write_manifest(folder)
    assert ModelBundle.load(folder).fingerprint != before
    write_manifest(folder, fingerprint=before)
    assert "states fingerprint" in refused(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version 2"),
        ({"format_version": "x" * 1000}, "format_version 'xxx"),
        ({"format": "other"}, "not a cl-haystack manifest"),
        ({"surprise": 1}, "surprise"),
        ({"space_id": "xyz"}, "space_id"),
        ({"files": {}}, "does not name model.onnx"),
        ({"text": {"max_length": "16"}}, "text.max_length"),
        ({"text": {"max_length": True}}, "text.max_length"),
        ({"text": {"max_length": 32}}, "states fingerprint"),
        (
            {
                "embedding": {
                    "dimension": 2,
                    "matryoshka_dimensions": [3, 2],
                    "pooling": "mean",
                    "normalize": True,
                    "similarity": "cosine",
                }
            },
            "has 3, of 2 in all",
        ),
        ({"graph": {"inputs": ["input_ids"], "opset": 17, "ir_version": 8}}, "attention_mask is missing"),
    ],
)
def test_foreign_manifest_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    write_manifest(folder, **changes)
    assert message in refused(folder)
    assert len(refused(folder)) < 500


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{} {}"])
def test_manifest_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert "is not JSON" in refused(folder)


@pytest.mark.parametrize("content", [b"[]", b"null", b"3"])
def test_manifest_that_is_no_object(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert "expected an object" in refused(folder)


def test_versions_of_the_graph_are_compared_with_the_manifest(folder: Path) -> None:
    write_model(folder, make_model(opset=16))
    assert "opset 16" in refused(folder)
    model = make_model()
    model.ir_version = 9
    write_model(folder, model)
    assert "IR version 9" in refused(folder)


def test_loading_opens_no_connection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    packed = ModelBundle.load(folder).pack(folder.parent / "packed.zip")
    assert ModelBundle.load(packed).fingerprint == ModelBundle.load(folder).fingerprint


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(folder: Path) -> None:
    (folder / "model.onnx").chmod(0)
    assert "cannot be read" in refused(folder)


def test_golden_manifest_of_format_1_still_loads() -> None:
    """Every version must read what the first one wrote."""
    from cl_haystack.bundle.manifest_file import parse_manifest

    golden = Path(__file__).parents[2] / "golden" / "bundle_manifest_v1.json"
    manifest = parse_manifest(golden.read_bytes(), golden)
    found = json.loads(manifest.model_dump_json())
    for section, value in json.loads(golden.read_text()).items():
        kept = {key: found[section][key] for key in value} if isinstance(value, dict) else found[section]
        assert kept == value, section


@pytest.mark.slow
def test_verification_is_quick(base_bundle: Path, record_property: Callable[[str, object], None]) -> None:
    """At most a quarter more processor time than SHA-256 alone takes."""
    content = (base_bundle / "model.onnx").read_bytes()
    hashing, loading = [], []
    for _ in range(10):
        started = time.process_time()
        hashlib.sha256(content).digest()
        hashing.append(time.process_time() - started)
        started = time.process_time()
        ModelBundle.load(base_bundle)
        loading.append(time.process_time() - started)
    record_property("verification_ms", round(1000 * min(loading), 1))
    assert min(loading) < 1.25 * min(hashing) + 0.01
