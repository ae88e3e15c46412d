"""The data of the quality benchmark: what is trained on, what is asked, and where each comes from.

Folders of DATA: ``scifact`` (BEIR's layout), ``banking77`` (CSV: text, category), ``stsb`` (JSONL: sentence1,
sentence2, score). ``python-docs`` needs none of them.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from cl_haystack.data import (
    Pair,
    PairCounts,
    RetrievalTask,
    find_overlap,
    pairs_from_qrels,
    pool_task,
    read_beir,
    read_pairs,
    write_pairs,
)
from cl_haystack.demo.collection import read_headed_texts, write_collection
from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.evaluation import evaluate_retrieval
from cl_haystack.evaluation.pair_tasks import PairTask, evaluate_pairs, read_pair_task
from cl_haystack.evaluation.views import View

METRIC = "ndcg@10"
_CONTROL_DOCUMENTS = 1_500
_FEW_PAIRS = 300
_FEW_SHOT = (5, 10)
_OTHERS_A_POSITIVE = 4  # labelled pairs of BANKING77: so many of two intents for one of the same
Answers = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """One data set of the benchmark.

    :param name: of the data set, and of its cells.
    :param pairs: takes a number and returns so many training pairs, the same for every seed and side.
    :param sizes: numbers of training pairs.
    :param sides: names of what is compared, see quality_training.
    :param evaluate: takes a model, returns values that can be stored as JSON.
    :param task: what is asked.
    :param views: parts of the queries, by name; the first holds all.
    :param loss: name of the loss.
    :param corpus: documents that negatives and further pairs are drawn from.
    """

    name: str
    pairs: Callable[[int], list[Pair]]
    sizes: Sequence[int]
    sides: Sequence[str]
    evaluate: Callable[[TextEncoder], Answers]
    task: RetrievalTask | PairTask
    views: Sequence[View] = field(default_factory=tuple)
    loss: str = "infonce"
    corpus: Path | None = None

    def what_is_asked(self) -> dict[str, Any]:
        """Return what a table needs to know of the task: the queries of each view, or the judgements."""
        if isinstance(self.task, PairTask):
            kind = "labels" if np.isfinite(self.task.labels).any() else "grades"
            return {"truth": {kind: getattr(self.task, kind).tolist()}}
        return {"views": {view.name: list(view.queries) for view in self.views}}


def load(name: str, data: Path, work: Path) -> Dataset:
    """Load a data set.

    :param name: a key of LOADERS.
    :param data: the folder with the data.
    :param work: folder for what is made of them.
    :returns: the data set.
    """
    return LOADERS[name](data, work)


def scifact(data: Path, work: Path, *, clean: bool = False) -> Dataset:
    """SciFact's claims; ``clean`` trains without those that are near-duplicates of a test claim."""
    folder = data / "scifact"
    test = read_beir(folder, "test")
    everything = list(pairs_from_qrels(read_beir(folder, "train"), PairCounts()))
    unseen = find_overlap(everything, test).unseen_queries
    pairs = _without_near_duplicates(everything, test) if clean else everything
    sizes = [len(pairs)] if clean else [0, 100, 300, len(pairs)]
    views = [View("all", tuple(test.queries)), View("documents that no pair names", unseen)]
    return _scifact("scifact-clean" if clean else "scifact", folder, work, pairs, test, views, sizes)


def scifact_few(data: Path, work: Path) -> Dataset:
    """SciFact's training claims alone, to choose a recipe by: the test split is never opened.

    Few pairs train, so that most claims are about documents that no pair names, as in the test split.
    """
    folder = data / "scifact"
    asked = read_beir(folder, "train")
    pairs = _sample(list(pairs_from_qrels(asked, PairCounts())), _FEW_PAIRS)
    views = [
        View("all", tuple(asked.queries)),
        View("documents that no pair names", find_overlap(pairs, asked).unseen_queries),
    ]
    return _scifact("scifact-few", folder, work, pairs, asked, views, [len(pairs)])


def _scifact(
    name: str,
    folder: Path,
    work: Path,
    pairs: Sequence[Pair],
    asked: RetrievalTask,
    views: Sequence[View],
    sizes: Sequence[int],
) -> Dataset:
    tasks = {"test": asked, "control": _control_task(work)}
    return Dataset(
        name=name,
        pairs=partial(_sample, pairs),
        sizes=sizes,
        sides=("plain", "pairs", "negatives", "documents", "peer"),
        evaluate=lambda encoder: {part: _per_query(task, encoder) for part, task in tasks.items()},
        task=asked,
        views=[*views, View("control", tuple(tasks["control"].queries))],
        corpus=folder / "corpus.jsonl",
    )


def banking77(data: Path, work: Path) -> Dataset:
    """Questions to a bank: a pair are two questions of one intent, 5 or 10 questions an intent train."""
    by_intent = _by_intent(data / "banking77" / "train.csv")

    def pairs(size: int) -> list[Pair]:
        shots = [texts[: size // len(by_intent)] for texts in by_intent.values()]
        return [
            Pair(anchor=anchor, positive=positive)
            for texts in shots
            for anchor, positive in zip(texts, texts[1:] + texts[:1], strict=True)
        ]

    path = work / "banking77-test.jsonl"
    if not path.is_file():
        write_pairs(_labelled_pairs(_by_intent(data / "banking77" / "test.csv")), path)
    task = read_pair_task(path)
    sizes = [shots * len(by_intent) for shots in _FEW_SHOT]
    return Dataset("banking77", pairs, sizes, ("pairs", "peer"), partial(_scores, task), task)


def stsb(data: Path, work: Path, *, split: str = "test") -> Dataset:
    """Graded pairs of sentences; CoSENT learns their order. A recipe is chosen on the split ``dev``."""
    path = work / f"stsb-{split}.jsonl"
    if not path.is_file():
        write_pairs(_graded_pairs(data / "stsb" / f"{split}.jsonl"), path)
    task = read_pair_task(path)
    train = _graded_pairs(data / "stsb" / "train.jsonl")
    sizes, sides = [300, 1_000, len(train)], ("pairs", "peer")
    name = "stsb" if split == "test" else f"stsb-{split}"
    return Dataset(name, partial(_sample, train), sizes, sides, partial(_scores, task), task, loss="cosent")


def python_docs(data: Path, work: Path) -> Dataset:
    """Docstrings of the running Python, summary → rest; half of its modules train, the others are asked."""
    folder = _python_docs(work)
    task = read_beir(folder, "test")
    return Dataset(
        name="python-docs",
        pairs=partial(_sample, list(read_pairs(folder / "pairs.jsonl"))),
        sizes=[300],
        sides=("pairs", "negatives", "peer"),
        evaluate=lambda encoder: {"test": _per_query(task, encoder)},
        task=task,
        views=[View("all", tuple(task.queries))],
        corpus=folder / "corpus.jsonl",
    )


LOADERS: dict[str, Callable[[Path, Path], Dataset]] = {
    "scifact": scifact,
    "scifact-clean": partial(scifact, clean=True),
    "python-docs": python_docs,
    "banking77": banking77,
    "stsb": stsb,
    "stsb-dev": partial(stsb, split="dev"),
    "scifact-few": scifact_few,
}
PUBLISHED = ("scifact", "scifact-clean", "python-docs", "banking77", "stsb")


def _sample(pairs: Sequence[Pair], size: int) -> list[Pair]:
    if size >= len(pairs):
        return list(pairs)
    chosen = np.random.default_rng(0).permutation(len(pairs))[:size]
    return [pairs[i] for i in sorted(chosen.tolist())]


def _per_query(task: RetrievalTask, encoder: TextEncoder) -> dict[str, float]:
    found = evaluate_retrieval(task, encoder).per_query
    return {query: round(values[METRIC], 6) for query, values in found.items()}


def _scores(task: PairTask, encoder: TextEncoder) -> Answers:
    return {"test": [round(score, 6) for score in evaluate_pairs(task, encoder).scores]}


def _control_task(work: Path) -> RetrievalTask:
    """Return a task that has nothing to do with SciFact."""
    folder = _python_docs(work)
    return pool_task(read_beir(folder, "test"), folder / "pool.jsonl", num_documents=_CONTROL_DOCUMENTS)


def _python_docs(work: Path) -> Path:
    """Return the demo's collection of the standard library's docs, a folder in BEIR's layout with pairs."""
    folder = work / "control"
    if not (folder / "qrels" / "test.tsv").is_file():
        write_collection(read_headed_texts(None), folder)
    return folder


def _without_near_duplicates(pairs: Sequence[Pair], test: RetrievalTask) -> list[Pair]:
    """Leave out the pairs whose anchor has almost the words of a test query."""
    anchors = {str(i): pair.anchor for i, pair in enumerate(pairs)}
    asked = replace(test, queries=anchors, qrels={anchor: {} for anchor in anchors})
    queries = (Pair(anchor=query, positive="of a test query") for query in test.queries.values())
    near = set(find_overlap(queries, asked).near_duplicate_queries)
    return [pair for i, pair in enumerate(pairs) if str(i) not in near]


def _by_intent(path: Path) -> dict[str, list[str]]:
    by_intent: dict[str, list[str]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_intent[row["category"]].append(row["text"])
    return by_intent


def _labelled_pairs(by_intent: dict[str, list[str]]) -> list[Pair]:
    """Pair each second question with the next of its intent, and with questions of other intents."""
    random = Random(0)
    intents = sorted(by_intent)
    pairs = []
    for intent in intents:
        texts = by_intent[intent]
        for anchor, same in zip(texts[::2], texts[1::2], strict=False):
            others = random.sample([name for name in intents if name != intent], _OTHERS_A_POSITIVE)
            pairs.append(Pair(anchor=anchor, positive=same, label=1))
            pairs += [
                Pair(anchor=anchor, positive=random.choice(by_intent[other]), label=0) for other in others
            ]
    return pairs


def _graded_pairs(path: Path) -> list[Pair]:
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [
        Pair(anchor=record["sentence1"], positive=record["sentence2"], score=min(1.0, record["score"]))
        for record in records
    ]
