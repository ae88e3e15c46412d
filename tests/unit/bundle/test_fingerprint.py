"""Identities: what must change them does, what must not does not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from cl_haystack.bundle.fingerprint import fingerprint, space_id, weights_digest
from cl_haystack.bundle.manifest import Embedding, FileEntry, Text
from cl_haystack.errors import CheckpointError

EMBEDDING = Embedding(dimension=4, pooling="mean", normalize=True, similarity="cosine")
TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, dtype=np.float16)}


def digest_of(folder: Path, tensors: dict[str, np.ndarray], **metadata: str) -> str:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata=metadata or None)
    return weights_digest(folder)


def test_metadata_and_sharding_do_not_count(tmp_path: Path) -> None:
    whole = digest_of(tmp_path / "whole", TENSORS)
    assert digest_of(tmp_path / "noted", TENSORS, format="pt", note="x") == whole
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, (name, tensor) in enumerate(TENSORS.items()):
        save_file({name: tensor}, shards / f"model-{number}.safetensors")
    assert weights_digest(shards) == whole


@pytest.mark.parametrize(
    "other",
    [
        {**TENSORS, "a": TENSORS["a"] + 1e-6},
        {**TENSORS, "a": TENSORS["a"].reshape(3, 2)},
        {**TENSORS, "a": TENSORS["a"].astype(np.float64)},
        {"a": TENSORS["a"]},
        {"c": TENSORS["a"], "b": TENSORS["b"]},
    ],
)
def test_value_shape_type_and_name_count(tmp_path: Path, other: dict[str, np.ndarray]) -> None:
    assert digest_of(tmp_path / "other", other) != digest_of(tmp_path / "whole", TENSORS)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"{]", b"\x10" + b"\0" * 7 + b"{}"]
)
def test_damaged_weights_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        weights_digest(tmp_path)


def test_truncated_weights_are_named(tmp_path: Path) -> None:
    digest_of(tmp_path, TENSORS)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="truncated"):
        weights_digest(tmp_path)


def test_golden_identities() -> None:
    """The formats last: these values may never change within format version 1."""
    space = space_id("f" * 64, EMBEDDING, Text(max_length=16, query_prefix="query: "))
    assert space == "1885fe42f7bab369698d72b44ad12987"
    files = {"model.onnx": FileEntry(sha256="0" * 64, bytes=1)}
    assert fingerprint(space, files, "fp32", 16) == "dbc26bfbe400b53e8ac7ce1944ce3ea6"


def test_length_is_no_part_of_the_space() -> None:
    assert space_id("w", EMBEDDING, Text(max_length=16)) == space_id("w", EMBEDDING, Text(max_length=512))


@given(st.text(max_size=8), st.text(max_size=8))
def test_prefixes_are_told_apart(query: str, document: str) -> None:
    one = space_id("w", EMBEDDING, Text(max_length=16, query_prefix=query, document_prefix=document))
    other = space_id("w", EMBEDDING, Text(max_length=16, query_prefix=document, document_prefix=query))
    assert (one == other) == (query == document)


def test_a_file_that_is_cut_short_while_it_is_hashed_ends_no_process(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, threading, time
from cl_haystack.bundle.fingerprint import file_entry
file = pathlib.Path({str(tmp_path / "file")!r})
file.touch()
os.truncate(file, 400_000_000)  # sparse: it takes no space
def cut():
    time.sleep(0.02)
    os.truncate(file, 0)
threading.Thread(target=cut).start()
assert file_entry(file).bytes <= 400_000_000
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
