"""An encoder across forks and pickling, closed, cut short and cached."""

import asyncio
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.manifest_file import manifest_bytes
from cl_haystack.encoder import Encoder
from cl_haystack.errors import BundleError, EncodingError
from cl_haystack.export import export_bundle
from cl_haystack.progress import Progress
from tests.tiny_model import make_tiny_checkpoint

TEXTS = ["the cat sat", "dog", "a red house on the mat", "blue"]


def edited(bundle: Path, copy: Path, **embedding: object) -> Path:
    """A bundle whose manifest says something else about its vectors."""
    shutil.copytree(bundle, copy)
    manifest = ModelBundle.load(bundle).manifest
    calibration = embedding.pop("calibration", {})
    changed = manifest.embedding.model_copy(update=embedding)
    manifest = manifest.model_copy(update={"embedding": changed, "calibration": calibration})
    (copy / "manifest.json").write_bytes(manifest_bytes(manifest))
    return copy


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(120)
def test_a_forked_child_encodes_the_same(bundle: Path) -> None:
    """In a process of its own, with threads at work and locks held while it forks."""
    code = f"""
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from cl_haystack.encoder import Encoder
encoder = Encoder.load({str(bundle)!r}, threads=2)
texts = {TEXTS!r} * 20
expected = encoder.encode_documents(texts)
stop = []
def busy():
    while not stop:
        encoder.encode_documents(texts); encoder.encode_queries(texts[:3])
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(2):
    with encoder._lock, encoder._query_cache._lock:
        child = os.fork()
    if not child:
        stop.append(1)
        same = np.array_equal(encoder.encode_documents(texts), expected)
        os._exit(0 if same and encoder.encode_queries(texts[:2]).any() else 7)
    deadline = time.monotonic() + 40
    while (status := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    if status[0] == 0:
        os.kill(child, 9); os.waitpid(child, 0); stop.append(1); sys.exit("the child hangs")
    if status[1]:
        stop.append(1); sys.exit(f"the child ended with {{status[1]}}")
stop.append(1)
for thread in threads: thread.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(60)
def test_a_child_forked_while_another_thread_loads_does_not_wait_for_it(bundle: Path) -> None:
    code = f"""
import os, signal, sys, warnings
warnings.simplefilter("ignore")
from cl_haystack.encoder import shared
shared._shared_lock.acquire()  # as a thread would that the child does not have
child = os.fork()
if not child:
    signal.alarm(20)
    os._exit(0 if shared.shared_encoder({str(bundle)!r}).encode_queries(["cat"]).any() else 7)
sys.exit(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


def test_a_pickled_encoder_opens_the_bundle_again(encoder: Encoder) -> None:
    content = pickle.dumps(encoder)
    assert len(content) < 1_000
    copy = pickle.loads(content)
    assert copy is not encoder
    assert copy.settings == encoder.settings
    np.testing.assert_array_equal(copy.encode_documents(TEXTS), encoder.encode_documents(TEXTS))


def test_a_pickled_encoder_wants_the_bundle_it_had(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "bundle"
    shutil.copytree(bundle, place)
    content = pickle.dumps(Encoder.load(place))
    export_bundle(make_tiny_checkpoint(tmp_path / "other", seed=1), place)
    with pytest.raises(BundleError, match="another one than when the encoder was pickled"):
        pickle.loads(content)


def test_closing_twice_and_leaving_a_context(bundle: Path) -> None:
    with Encoder.load(bundle) as encoder:
        encoder.encode_queries(["cat"])
    encoder.close()
    for use in (
        lambda: encoder.encode_queries(["cat"]),  # also where the answer is in the cache
        lambda: encoder.encode_documents([]),
        lambda: next(encoder.encode_stream(["cat"])),
    ):
        with pytest.raises(EncodingError, match="closed"):
            use()


def test_queries_are_computed_once_and_belong_to_the_caller(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, texts_run = encoder._open()._engine, []
    run = engine.run
    monkeypatch.setattr(
        engine, "run", lambda *given: (texts_run.extend(given[0]["input_ids"]), run(*given))[1]
    )
    first = encoder.encode_queries(["cat", "dog", "cat"])
    expected = first.copy()
    first[:] = 0
    seen: list[Progress] = []
    second = encoder.encode_queries(["dog", "cat", "dog"], on_progress=seen.append)
    np.testing.assert_array_equal(second, expected[[1, 0, 1]])
    assert expected.any()
    assert len(texts_run) == 2
    assert seen == [Progress(3, 3)]
    second[:] = 0
    np.testing.assert_array_equal(encoder.encode_queries(["dog"]), expected[[1]])
    encoder.encode_queries(["red"] * 33)
    assert len(texts_run) == 2 + 33


def test_no_cache_computes_again(bundle: Path) -> None:
    with Encoder.load(bundle, query_cache_size=0) as uncached, Encoder.load(bundle) as cached:
        cached.encode_queries(["cat"])
        np.testing.assert_array_equal(uncached.encode_queries(["cat"]), cached.encode_queries(["cat"]))
        assert not uncached._query_cache.find(["cat"])


def test_asyncio_through_threads(encoder: Encoder) -> None:
    async def ask() -> list[np.ndarray]:
        calls = (asyncio.to_thread(encoder.encode_queries, [text]) for text in TEXTS * 5)
        return await asyncio.gather(*calls)

    np.testing.assert_array_equal(np.vstack(asyncio.run(ask())), encoder.encode_queries(TEXTS * 5))


@pytest.mark.parametrize("window_s", [0.0, 0.01])
def test_concurrent_queries_share_runs_and_change_no_bit(
    bundle: Path, encoder: Encoder, window_s: float
) -> None:
    expected = encoder.encode_queries(TEXTS * 5)

    async def ask(gathering: Encoder) -> list[np.ndarray]:
        return await asyncio.gather(*map(gathering.encode_query_async, TEXTS * 5))

    with Encoder.load(bundle, query_cache_size=0, micro_batch_window_s=window_s) as gathering:
        np.testing.assert_array_equal(np.vstack(asyncio.run(ask(gathering))), expected)
        with ThreadPoolExecutor(8) as pool:
            rows = list(pool.map(lambda text: gathering.encode_queries([text]), TEXTS * 5))
        np.testing.assert_array_equal(np.vstack(rows), expected)
        with pytest.raises(TypeError, match="text"):
            asyncio.run(gathering.encode_query_async(None))  # type: ignore[arg-type]
    with pytest.raises(EncodingError, match="closed"):
        asyncio.run(gathering.encode_query_async("cat"))
    with pytest.raises(EncodingError, match="closed"):
        gathering.encode_queries(["cat"])


def test_a_stream_of_queries_is_encoded_as_queries(encoder: Encoder) -> None:
    queries = np.vstack(list(encoder.encode_stream(iter(TEXTS), kind="query")))
    np.testing.assert_array_equal(queries, encoder.encode_queries(TEXTS))
    assert list(encoder.encode_stream([])) == []
    with pytest.raises(EncodingError, match="expected 'query' or 'document'"):
        encoder.encode_stream(TEXTS, kind="passage")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="one str"):
        encoder.encode_stream("cat")


def test_truncated_vectors_have_unit_length(bundle: Path, tmp_path: Path) -> None:
    matryoshka = edited(bundle, tmp_path / "m", matryoshka_dimensions=(8, 4))
    with Encoder.load(matryoshka, truncate_dim=8) as encoder, Encoder.load(matryoshka) as full:
        vectors, whole = encoder.encode_documents(TEXTS), full.encode_documents(TEXTS)
        assert encoder.dimension == 8
        expected = whole[:, :8] / np.sqrt((whole[:, :8].astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
        alone = np.vstack([encoder.encode_documents([text]) for text in TEXTS])
        np.testing.assert_array_equal(vectors, alone)
    with pytest.raises(EncodingError, match="can be cut to are one of 8, 4"):
        Encoder.load(matryoshka, truncate_dim=6)
    with pytest.raises(EncodingError, match="none: it was not trained for that"):
        Encoder.load(bundle, truncate_dim=8)


def test_vectors_in_bytes(bundle: Path, tmp_path: Path) -> None:
    calibrated = Encoder.load(edited(bundle, tmp_path / "c", calibration={"int8_scale": 300.0}))
    vectors = calibrated.encode_documents(TEXTS)
    found = calibrated.quantize(vectors, "int8")
    np.testing.assert_array_equal(found, np.clip(np.round(vectors * 300), -127, 127))
    assert calibrated.quantize(vectors, "binary").shape == (len(TEXTS), 2)
    with pytest.raises(EncodingError, match="no int8_scale"):
        Encoder.load(edited(bundle, tmp_path / "without")).quantize(vectors, "int8")
    with pytest.raises(EncodingError, match="'int8' or 'binary'"):
        calibrated.quantize(vectors, "float16")  # type: ignore[arg-type]


@pytest.mark.parametrize(("wrong", "name"), [(None, "NoneType"), (3, "int"), (b"x", "bytes")])
def test_a_wrong_element_is_named_before_anything_is_encoded(
    encoder: Encoder, wrong: object, name: str
) -> None:
    seen: list[Progress] = []
    texts = ["fine"] * 600 + [wrong]
    for encode in (encoder.encode_documents, encoder.encode_queries):
        with pytest.raises(TypeError, match=f"text 600 is {name}"):
            encode(texts, on_progress=seen.append)  # type: ignore[arg-type]
    assert not seen
    with pytest.raises(TypeError, match=f"text 600 is {name}"):
        list(encoder.encode_stream(texts))  # type: ignore[arg-type]
