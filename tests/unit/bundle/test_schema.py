"""The documents of the format say what the code does."""

import hashlib
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pydantic
import pytest

from cl_haystack.bundle import Manifest, ModelBundle, files, manifest_file
from cl_haystack.bundle.fingerprint import file_entry
from cl_haystack.bundle.schema import schema_text
from cl_haystack.errors import BundleError
from tests.tiny_bundle import write_manifest

EMBEDDING = {"dimension": 2, "pooling": "mean", "normalize": True, "similarity": "cosine"}
GRAPH = {"opset": 17, "ir_version": 8}
DOCS = Path(__file__).parents[3] / "docs"


def test_schema_in_the_docs_is_the_schema_of_the_code() -> None:
    command = "python -m cl_haystack.bundle.schema > docs/bundle.schema.json"
    written = (DOCS / "bundle.schema.json").read_text(encoding="utf-8")
    assert written == schema_text(), f"the manifest has changed; if that is meant, run: {command}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"surprise": 1},
        {"format": "other"},
        {"format_version": 2},
        {"name": ""},
        {"name": "a\x1b[31m"},
        {"space_id": "xyz"},
        {"files": {}},
        {"text": {"max_length": "16"}},
        {"text": {"max_length": 0}},
        {"embedding": {"dimension": 2, "pooling": "sum", "normalize": True, "similarity": "cosine"}},
        {"embedding": EMBEDDING | {"matryoshka_dimensions": [1]}},
        {"embedding": EMBEDDING | {"matryoshka_dimensions": [0]}},
        {"embedding": EMBEDDING | {"matryoshka_dimensions": [-3]}},
        {"graph": GRAPH | {"inputs": ["token_type_ids", "attention_mask", "input_ids"]}},
        {"graph": GRAPH | {"inputs": ["input_ids", "position_ids"]}},
        {"graph": GRAPH | {"inputs": ["input_ids", "attention_mask", "position_ids"]}},
        {"graph": GRAPH | {"inputs": ["input_ids", "token_type_ids"]}},
        {"graph": GRAPH | {"inputs": []}},
        {"quality": [{"dataset": "d", "metric": "m", "value": 1, "ci95": [0.5]}]},
        {"quality": [{"dataset": "d", "metric": "m", "value": 1, "ci95": [0.5, 1.5]}]},
        {"parity": None, "training": {"any": ["thing", None]}},
    ],
)
def test_schema_and_reader_agree(folder: Path, changes: dict[str, object]) -> None:
    write_manifest(folder, **changes)
    manifest = json.loads((folder / "manifest.json").read_text())
    validator = jsonschema.Draft202012Validator(json.loads((DOCS / "bundle.schema.json").read_text()))
    try:
        ModelBundle.load(folder)
    except BundleError:
        assert not validator.is_valid(manifest)
    else:
        validator.validate(manifest)


def fields_of(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        nested = [
            part
            for part in (field.annotation, *typing.get_args(field.annotation))
            if isinstance(part, type) and issubclass(part, pydantic.BaseModel)
        ]
        if not nested:
            yield prefix + name
        for part in nested:
            separator = ".*." if typing.get_origin(field.annotation) is dict else "."
            yield from fields_of(part, prefix + name + separator)


def test_every_field_is_documented_and_no_other() -> None:
    page = (DOCS / "bundle.md").read_text(encoding="utf-8")
    table = page.partition("## The manifest")[2].partition("## Identities")[0]
    first_cells = "".join(re.findall(r"^\| (`[^|]*) \|", table, flags=re.MULTILINE))
    documented = set(re.findall(r"`([^`]+)`", first_cells))
    fields = set(fields_of(Manifest))
    assert fields - documented == set()
    assert documented - fields == {"files", "parity", "quality"}


def test_limits_are_documented() -> None:
    page = (DOCS / "bundle.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| .* \| (\d+) \w+[^|]*\|$", page, flags=re.MULTILINE))
    assert set(rows) == set(files.MAX_BYTES)
    assert {name: int(size) for name, size in rows.items() if name != "model.onnx"} == {
        name: size // 1_000_000 for name, size in files.MAX_BYTES.items() if name != "model.onnx"
    }


def test_a_reader_in_another_language_can_compute_the_identities(folder: Path) -> None:
    """By the words of docs/bundle.md alone, with sha256 and string functions."""
    content = (folder / "manifest.json").read_text()
    manifest = json.loads(content)
    blank = content.replace(manifest["checksum"], "0" * 64)
    assert hashlib.sha256(blank.encode()).hexdigest() == manifest["checksum"]
    model, tokenizer = (file_entry(folder / name).sha256 for name in ("model.onnx", "tokenizer.json"))
    hashes = f'{{"model.onnx":"{model}","tokenizer.json":"{tokenizer}"}}'
    settings = f'"max_length":16,"precision":"fp32","space_id":"{manifest["space_id"]}"'
    canonical = f'{{"files":{hashes},{settings}}}'
    assert hashlib.sha256(canonical.encode()).hexdigest()[:32] == manifest["fingerprint"]


def test_checksum_is_written_last_and_anew(folder: Path) -> None:
    manifest = ModelBundle.load(folder).manifest
    again = manifest_file.manifest_bytes(manifest.model_copy(update={"name": "0" * 64}))
    assert manifest_file.parse_manifest(again, "again").name == "0" * 64
    assert list(json.loads(again))[-1] == "checksum"
    assert manifest_file.manifest_bytes(manifest) == (folder / "manifest.json").read_bytes()
