"""Many texts and odd ones: right answers, nothing lost, memory flat."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cl_haystack.encoder import Encoder
from cl_haystack.export import export_bundle
from tests.tiny_model import WORDS, make_tiny_checkpoint


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    return export_bundle(make_tiny_checkpoint(folder), folder / "bundle").path


def test_odd_texts_beside_ordinary_ones(bundle: Path) -> None:
    """Each is equal to what it counts as, and disturbs no neighbour."""
    odd = {
        "\ud800 cat": "\ufffd cat",
        "": "   ",
        "\n\t": "",
        "the\x00cat": "thecat",
        "x" * 10_000_000: "x" * 200,
    }
    with Encoder.load(bundle) as encoder:
        cat = encoder.encode_documents(["the cat sat"])[0]
        assert np.isclose(np.linalg.norm(cat), 1)
        texts = [text for pair in odd.items() for text in (*pair, "the cat sat")]
        vectors = encoder.encode_documents(texts)
    np.testing.assert_array_equal(vectors[0::3], vectors[1::3])
    np.testing.assert_array_equal(vectors[2::3], np.tile(cat, (len(odd), 1)))
    assert not np.array_equal(vectors[0], vectors[3])


@pytest.mark.slow
def test_a_hundred_thousand_texts_of_mixed_length(bundle: Path) -> None:
    distinct = [" ".join(WORDS[:number]) * (1 + number % 3) for number in range(13)]
    numbers = np.random.default_rng(0).integers(0, len(distinct), 100_000)
    with Encoder.load(bundle) as encoder:
        expected = np.vstack([encoder.encode_documents([text]) for text in distinct])
        vectors = encoder.encode_documents([distinct[number] for number in numbers])
    assert len(np.unique(expected, axis=0)) == len(distinct)
    np.testing.assert_array_equal(vectors, expected[numbers])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux shows it")
def test_a_long_stream_takes_no_more_memory_than_a_short_one(bundle: Path, number: int) -> None:
    code = f"""
from cl_haystack.encoder import Encoder
def peak_mb():
    status = open("/proc/self/status").read().split()
    return int(status[status.index("VmHWM:") + 1]) / 1000
def encode(number):
    texts = (f"the cat {{i}} " * (1 + i % 40) for i in range(number))
    return sum(len(block) for block in encoder.encode_stream(texts))
encoder = Encoder.load({str(bundle)!r})
encode(5_000)
before = peak_mb()
assert encode({number}) == {number}
print(peak_mb() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 20  # the texts alone, held in one list, would be 40 MB and more
