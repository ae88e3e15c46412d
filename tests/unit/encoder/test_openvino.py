"""The second engine gives the vectors of the first, is chosen where it is faster, and says what it lacks."""

import os
import random
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cl_haystack.encoder import Encoder, openvino_engine
from cl_haystack.encoder.openvino_engine import OpenVinoEngine
from cl_haystack.errors import EncodingError, MissingExtraError
from cl_haystack.export import export_bundle
from tests.tiny_model import WORDS, make_tiny_checkpoint

TEXTS = [" ".join(random.Random(number).choices(WORDS, k=number % 14)) for number in range(40)]

needs_openvino = pytest.mark.skipif(  # not importorskip: an import of it alone sends telemetry
    find_spec("openvino") is None, reason="OpenVINO, extra [openvino], is not installed"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    return export_bundle(make_tiny_checkpoint(folder), folder / "bundle").path


@pytest.fixture(scope="module")
def block_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("block")
    checkpoint = make_tiny_checkpoint(folder)
    return export_bundle(checkpoint, folder / "bundle", precision="int8-block", min_cosine=0.9).path


@needs_openvino
@pytest.mark.parametrize(
    ("bundle_name", "precision", "tolerance"),
    [("bundle", "f32", 1e-5), ("bundle", "bf16", 3e-2), ("block_bundle", "bf16", 3e-2)],
)
def test_same_vectors_as_onnxruntime(
    request: pytest.FixtureRequest, bundle_name: str, precision: Any, tolerance: float
) -> None:
    path = request.getfixturevalue(bundle_name)
    with Encoder.load(path) as reference:
        expected = reference.encode_documents(TEXTS)
    with Encoder.load(path, engine="openvino", inference_precision=precision, threads=2) as encoder:
        vectors = encoder.encode_documents(TEXTS)
        np.testing.assert_allclose(vectors, expected, atol=tolerance)
    with Encoder.load(path, engine="openvino", inference_precision=precision, threads=1) as single:
        alone = np.vstack([single.encode_documents([text]) for text in TEXTS])
    np.testing.assert_array_equal(vectors, alone)


@needs_openvino
def test_threads_share_one_model(bundle: Path) -> None:
    with Encoder.load(bundle, engine="openvino") as encoder:
        expected, wrong = encoder.encode_documents(TEXTS), []

        def encode() -> None:
            if not np.array_equal(encoder.encode_documents(TEXTS[::-1]), expected[::-1]):
                wrong.append(1)

        threads = [threading.Thread(target=encode) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@needs_openvino
def test_auto_takes_it_where_it_is_faster(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "bfloat16_is_faster", lambda: False)
    with Encoder.load(bundle, engine="auto") as encoder:
        assert not isinstance(encoder._open()._engine, OpenVinoEngine)
    monkeypatch.setattr(openvino_engine, "bfloat16_is_faster", lambda: True)
    with Encoder.load(bundle, engine="auto") as encoder:
        assert isinstance(encoder._open()._engine, OpenVinoEngine)
    assert [openvino_engine.is_faster(name) for name in ("int8-block", "int8", "fp16")] == [
        True,
        False,
        False,
    ]


@needs_openvino
def test_sends_no_telemetry(bundle: Path, tmp_path: Path) -> None:
    load = "import sys; from cl_haystack.encoder import Encoder; Encoder.load(sys.argv[1], engine='openvino')"
    elsewhere = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", load, str(bundle)], env=elsewhere, check=True)
    assert not (tmp_path / "intel").exists()  # where it counts its imports before it sends them


def test_not_installed_names_the_extra(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"cl-haystack\[openvino\]"):
        Encoder.load(bundle, engine="openvino")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "tensorrt"}, "expected onnxruntime, openvino or auto"),
        ({"engine": "openvino", "inference_precision": "f16"}, "expected f32 or bf16"),
        ({"inference_precision": "bf16"}, "use engine='openvino'"),
        ({"query_cache_size": -1}, "query_cache_size is -1"),
    ],
)
def test_settings_that_cannot_work(bundle: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        Encoder.load(bundle, **options)  # type: ignore[arg-type]
