"""A dynamic int8 twin of a bundle, and one whose graph promises less: what the encoder must cope with."""

import shutil
from pathlib import Path

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


def make_modest_bundle(bundle: Path, out: Path) -> Path:
    """Take back the promise that rows do not depend on each other."""
    shutil.copytree(bundle, out)
    return write_manifest(bundle, out, precision="fp32", batch_invariant=False)


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
