"""The same text gets the bit-identical vector alone, in any batch, in any order and from any thread.

The judge is the slowest way: each text alone, encoded by a fresh encoder with one thread.
"""

import random
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.encoder import Encoder
from cl_haystack.export import export_bundle
from tests.int8_bundle import make_int8_bundle, make_modest_bundle
from tests.tiny_model import WORDS, make_tiny_checkpoint

KINDS = ["fp32", "int8", "modest"]
texts = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.sampled_from([*WORDS, "x", "日本", "\n"]), max_size=20).map(" ".join),
        st.integers(1, 60).map(lambda count: "the cat sat on the mat " * count),
        st.text(st.characters(categories=["Cs", "Cc", "Ll"]), max_size=10),
    ),
    min_size=1,
    max_size=40,
)


def make_bundles(fp32: Path, folder: Path) -> dict[str, Path]:
    return {
        "fp32": fp32,
        "int8": make_int8_bundle(fp32, folder / "int8"),
        "modest": make_modest_bundle(fp32, folder / "modest"),
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tiny")
    checkpoint = make_tiny_checkpoint(folder)
    block = export_bundle(checkpoint, folder / "int8-block", precision="int8-block", min_cosine=-1).path
    return {**make_bundles(export_bundle(checkpoint, folder / "fp32").path, folder), "int8-block": block}


@pytest.fixture(scope="module")
def real(base_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_bundles(base_bundle, tmp_path_factory.mktemp("real"))


def check_invariance(path: Path, batch: list[str], seed: int, encoder: Encoder) -> None:
    with Encoder.load(path, threads=1, query_cache_size=0, verify=False) as alone:
        expected = np.vstack([alone.encode_documents([text]) for text in batch])
    np.testing.assert_array_equal(encoder.encode_documents(batch), expected)
    order = random.Random(seed).sample(range(len(batch)), len(batch))
    shuffled = encoder.encode_documents([batch[i] for i in order])
    np.testing.assert_array_equal(shuffled, expected[order])
    streamed = np.vstack(list(encoder.encode_stream(iter(batch))))
    np.testing.assert_array_equal(streamed, expected)
    np.testing.assert_array_equal(encoder.encode_documents(batch[:1] * 3)[1], expected[0])


@pytest.mark.parametrize("kind", [*KINDS, "int8-block"])
def test_a_vector_depends_on_its_text_alone(tiny: dict[str, Path], kind: str) -> None:
    with Encoder.load(tiny[kind], threads=2) as encoder:

        @settings(max_examples=60, deadline=None)
        @given(texts, st.integers(0, 1000))
        def check(batch: list[str], seed: int) -> None:
            check_invariance(tiny[kind], batch, seed, encoder)

        check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_of_the_real_model_depends_on_its_text_alone(real: dict[str, Path], kind: str) -> None:
    with Encoder.load(real[kind], threads=2) as encoder:

        @settings(max_examples=12, deadline=None)
        @given(texts, st.integers(0, 1000))
        def check(batch: list[str], seed: int) -> None:
            check_invariance(real[kind], batch, seed, encoder)

        check()


@pytest.mark.parametrize("kind", KINDS)
def test_fifty_threads_at_once(tiny: dict[str, Path], kind: str) -> None:
    batch = [" ".join(WORDS[: 1 + number % 12]) + " x" * (number % 7) for number in range(60)]
    with Encoder.load(tiny[kind], threads=2, query_cache_size=8) as encoder:
        expected = encoder.encode_documents(batch)
        assert len(np.unique(expected, axis=0)) > 40
        start, wrong = threading.Barrier(50), []

        def encode(number: int) -> None:
            start.wait()
            mine = slice(number, number + 10)
            for vectors in (encoder.encode_documents(batch[mine]), encoder.encode_queries(batch[mine])):
                if not np.array_equal(vectors, expected[mine]):
                    wrong.append(number)

        threads = [threading.Thread(target=encode, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_the_promise_of_a_manifest_lets_texts_share_runs(
    tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this, the cases above would prove nothing about shared runs."""
    with Encoder.load(tiny["fp32"]) as invariant, Encoder.load(tiny["modest"]) as modest:
        batch = ["the cat", "the dog", "red house", "the cat sat on the mat"]
        sizes = {}
        for name, encoder in (("invariant", invariant), ("modest", modest)):
            engine, seen = encoder._open()._engine, sizes.setdefault(name, [])
            run = engine.run
            monkeypatch.setattr(
                engine,
                "run",
                lambda inputs, output, run=run, seen=seen: (
                    seen.append(len(inputs["input_ids"])),
                    run(inputs, output),
                )[1],
            )
            encoder.encode_documents(batch)
        assert sorted(sizes["invariant"]) == [1, 3]
        assert sizes["modest"] == [1, 1, 1, 1]
