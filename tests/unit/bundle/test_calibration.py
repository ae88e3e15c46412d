"""Thresholds come into a bundle beside what is there; all else stays, what would not load is not written."""

import json
from pathlib import Path

import pytest

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.calibration import write_thresholds
from cl_haystack.bundle.manifest import Threshold
from cl_haystack.errors import BundleError
from tests.tiny_bundle import write_manifest


def threshold(score: float = 0.8) -> Threshold:
    return Threshold(
        score=score,
        wanted_precision=0.95,
        precision=0.96,
        precision_ci95=(0.93, 0.98),
        recall=0.5,
        pairs=100,
        positives=40,
        dataset="pairs.jsonl",
        sha256="a" * 64,
    )


def test_thresholds_are_added_and_replaced_and_nothing_else_changes(folder: Path) -> None:
    write_manifest(folder)
    before = ModelBundle.load(folder).manifest
    write_thresholds(folder, {"duplicate": threshold(0.8), "related": threshold(0.5)})
    bundle = write_thresholds(folder, {"duplicate": threshold(0.9)})
    assert bundle.manifest.calibration["thresholds"] == {
        "duplicate": threshold(0.9),
        "related": threshold(0.5),
    }
    verified = ModelBundle.load(folder).manifest  # the checksum too
    changes = {"calibration": before.calibration, "checksum": before.checksum}
    assert verified.model_copy(update=changes) == before
    assert verified.checksum != before.checksum
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.onnx", "tokenizer.json"]


def test_a_scale_that_is_there_stays(folder: Path) -> None:
    write_manifest(folder, calibration={"int8_scale": 300.0})
    assert write_thresholds(folder, {"x": threshold()}).manifest.calibration["int8_scale"] == 300.0


def test_what_would_not_load_is_not_written(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    for name, value in (("../x", threshold()), ("x", threshold(float("inf")))):
        with pytest.raises(BundleError):
            write_thresholds(folder, {name: value})
    assert (folder / "manifest.json").read_bytes() == before
    assert len(list(folder.iterdir())) == 3


def test_a_packed_bundle_is_refused_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    packed = ModelBundle.load(folder).pack(tmp_path / "model.zip")
    with pytest.raises(BundleError, match=r"is packed.*cl-haystack bundle unpack"):
        write_thresholds(packed, {"x": threshold()})


def test_a_manifest_with_an_unknown_calibration_is_refused(folder: Path) -> None:
    write_manifest(folder, calibration={"surprise": 1.0})
    with pytest.raises(BundleError, match="surprise"):
        ModelBundle.load(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["calibration"] == {"surprise": 1.0}
