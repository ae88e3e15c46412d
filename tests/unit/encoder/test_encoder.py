"""Encoding with a real, tiny graph: order, prefixes, odd input, sharing, and bundles that changed."""

import gc
import json
import math
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder import Encoder, shared_encoder
from cl_haystack.encoder import runs as runs_module
from cl_haystack.encoder import shared as shared_module
from cl_haystack.encoder.cpu import logical_processors
from cl_haystack.encoder.session import OnnxRuntimeEngine
from cl_haystack.errors import BundleError, EncodingError
from cl_haystack.export import export_bundle
from cl_haystack.progress import Progress
from tests.tiny_model import make_tiny_checkpoint

TEXTS = ["the cat sat", "dog", "", "a red house on the mat " * 9, "blue", "the cat sat"]


def test_rows_are_unit_vectors_in_the_order_of_the_texts(encoder: Encoder) -> None:
    vectors = encoder.encode_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    one_by_one = np.vstack([encoder.encode_documents([text]) for text in TEXTS])
    np.testing.assert_array_equal(vectors, one_by_one)
    assert not np.allclose(vectors[0], vectors[1])


def test_queries_and_documents_get_their_prefixes(encoder: Encoder) -> None:
    query, document = encoder.encode_queries(["cat"]), encoder.encode_documents(["cat"])
    assert not np.allclose(query, document, atol=1e-3)


def test_windows_change_nothing(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = encoder.encode_documents(TEXTS * 5)
    monkeypatch.setattr(runs_module, "_WINDOW_TEXTS_TO_SHARE", 7)
    monkeypatch.setattr(runs_module, "_WINDOW_TEXTS_A_RUN", 1)
    seen: list[Progress] = []
    np.testing.assert_array_equal(encoder.encode_documents(TEXTS * 5, on_progress=seen.append), expected)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert seen[-1] == Progress(30, 30)
    assert len(seen) >= 30 / 7


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode_queries([]).shape == (0, encoder.dimension)


@pytest.mark.parametrize("wrong", ["one string", b"bytes", (text for text in "ab"), None, 5])
def test_one_string_is_no_list(encoder: Encoder, wrong: object) -> None:
    with pytest.raises(TypeError, match="expected a list of strings"):
        encoder.encode_queries(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["one string", None, 5])
def test_a_stream_is_refused_where_it_is_asked_for(encoder: Encoder, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"expected an? (iterable|list) of strings"):
        encoder.encode_stream(wrong)  # type: ignore[arg-type]


def test_threads_share_one_encoder(encoder: Encoder) -> None:
    expected = encoder.encode_documents(TEXTS)
    wrong: list[int] = []

    def encode(number: int) -> None:
        if not np.allclose(encoder.encode_documents(TEXTS), expected, atol=1e-6):
            wrong.append(number)

    threads = [threading.Thread(target=encode, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_closed_encoder_says_so(encoder: Encoder) -> None:
    encoder.close()
    with pytest.raises(EncodingError, match="closed"):
        encoder.encode_queries(["cat"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "expected one of cpu, cuda"),
        ({"threads": 0}, "threads is 0"),
        ({"affinity": []}, "expected different ones of the processors"),
        ({"affinity": [0, 0]}, "expected different ones of the processors"),
        ({"affinity": [100_000]}, "expected different ones of the processors"),
        ({"affinity": [min(logical_processors())], "threads": 7}, "leave threads out"),
        ({"affinity": [min(logical_processors())], "engine": "openvino"}, "engine='onnxruntime'"),
        ({"micro_batch_window_s": -1}, "from 0"),
        ({"micro_batch_window_s": math.nan}, "from 0"),
    ],
)
def test_wrong_options_are_named(bundle: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        Encoder.load(bundle, **options)  # type: ignore[arg-type]


def test_threads_are_tied_to_the_processors_that_are_named(bundle: Path, encoder: Encoder) -> None:
    affinity = sorted(logical_processors())[-2:]
    before = set(Path("/proc/self/task").iterdir())
    with Encoder.load(bundle, affinity=affinity) as tied:
        assert tied.settings.num_threads == len(affinity)
        np.testing.assert_array_equal(tied.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
        new = set(Path("/proc/self/task").iterdir()) - before
        tied_to = [os.sched_getaffinity(int(thread.name)) for thread in new]
        assert all({processor} in tied_to for processor in affinity[1:])


def test_device_that_is_not_there_is_refused(bundle: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(EncodingError, match="CUDAExecutionProvider"):
        Encoder.load(bundle, device="cuda")


def test_int8_on_cuda_would_run_on_the_cpu(bundle: Path) -> None:
    loaded = ModelBundle.load(bundle)
    numerics = loaded.manifest.numerics.model_copy(update={"precision": "int8"})
    int8 = ModelBundle(loaded.path, loaded.manifest.model_copy(update={"numerics": numerics}))
    with pytest.raises(EncodingError, match="use a bundle in fp16"):
        Encoder.load(int8, device="cuda")


def test_bound_memory_changes_no_bit(encoder: Encoder) -> None:
    """What CUDA runs through, on the provider that is here."""
    engine = encoder._open()._engine
    assert isinstance(engine, OnnxRuntimeEngine)
    ids = np.random.default_rng(0).integers(0, 20, (3, 7))
    inputs = dict.fromkeys(engine.input_names, np.ones_like(ids)) | {"input_ids": ids}
    expected = engine.run(inputs, "sentence_embedding")
    assert expected.any()
    np.testing.assert_array_equal(engine.run_bound(inputs, "sentence_embedding"), expected)


def test_manifest_with_other_inputs_than_the_graph(bundle: Path) -> None:
    loaded = ModelBundle.load(bundle)
    graph = loaded.manifest.graph.model_copy(update={"inputs": ("pixels",)})
    wrong = ModelBundle(loaded.path, loaded.manifest.model_copy(update={"graph": graph}))
    with pytest.raises(BundleError, match="pixels"):
        Encoder(wrong)


def test_shared_encoder_lives_as_long_as_it_is_held(bundle: Path) -> None:
    first = shared_encoder(bundle)
    assert shared_encoder(str(bundle)) is first
    assert shared_encoder(bundle, threads=1) is not first
    before = len(shared_module._shared)
    del first
    gc.collect()
    assert len(shared_module._shared) == before - 1


def test_replaced_bundle_is_another_bundle(tmp_path: Path) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path / "one")
    other = make_tiny_checkpoint(tmp_path / "two", query_prefix="query: ")
    bundle = export_bundle(checkpoint, tmp_path / "bundle").path
    first = shared_encoder(bundle)
    export_bundle(other, bundle)
    second = shared_encoder(bundle)
    assert second is not first
    assert second.bundle.space_id != first.bundle.space_id


def test_manifest_that_lies_about_its_dimension(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["embedding"]["dimension"] = 17
    manifest["checksum"] = None  # or the lie is found before anything is loaded
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="17"):
        Encoder.load(copy).encode_queries(["cat"])


def with_tokenizer(bundle: Path, copy: Path, change: Callable[[dict[str, Any]], object]) -> Encoder:
    shutil.copytree(bundle, copy)
    content = json.loads((copy / "tokenizer.json").read_text())
    change(content)
    (copy / "tokenizer.json").write_text(json.dumps(content))
    return Encoder(ModelBundle(copy, ModelBundle.load(bundle).manifest))


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_text_without_any_token_is_refused(bundle: Path, tmp_path: Path, text: str) -> None:
    encoder = with_tokenizer(bundle, tmp_path / "copy", lambda content: content.update(post_processor=None))
    assert encoder.encode_documents(["cat", text]).any()  # the prefix has tokens
    text_settings = encoder.bundle.manifest.text.model_copy(update={"document_prefix": ""})
    manifest = encoder.bundle.manifest.model_copy(update={"text": text_settings})
    bare = Encoder(ModelBundle(encoder.bundle.path, manifest))
    with pytest.raises(EncodingError, match="has no tokens"):
        bare.encode_documents(["cat", text])


def test_ids_that_the_model_has_no_embedding_of(bundle: Path, tmp_path: Path) -> None:
    def far_away(content: dict[str, Any]) -> None:
        content["model"]["vocab"]["cat"] = 9_999

    encoder = with_tokenizer(bundle, tmp_path / "copy", far_away)
    assert encoder.encode_queries(["dog"]).any()
    with pytest.raises(BundleError, match=r"model\.onnx: cannot be run on texts of \d+ tokens"):
        encoder.encode_queries(["cat"])


def test_more_tokens_than_the_model_has_positions(bundle: Path) -> None:
    loaded = ModelBundle.load(bundle)
    text = loaded.manifest.text.model_copy(update={"max_length": 1_000})
    encoder = Encoder(ModelBundle(loaded.path, loaded.manifest.model_copy(update={"text": text})))
    with pytest.raises(BundleError, match=r"cannot be run on texts of 1000 tokens"):
        encoder.encode_documents(["the cat " * 1_000])


def test_vectors_that_are_no_numbers_are_refused(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As fp16 gives where a model overflows: no index would tell."""
    engine = encoder._open()._engine
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda *given: run(*given) * np.float32("inf"))
    with pytest.raises(EncodingError, match="NaN or infinity"):
        encoder.encode_documents(["cat"])
