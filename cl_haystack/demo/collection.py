"""A training set and a relevance test set out of bare documents.

A document's heading (a docstring's summary, an article's title) is taken as the question and the rest as the
text that answers it. Documents are split by group (a module of the standard library, a document of one's
own corpus): no document of a held-out group is trained on. All documents, trained on or not, are
searched. A heading is never part of the text that is searched, or finding it would be no feat.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from cl_haystack.data import Pair, is_held_out, read_corpus, write_beside, write_pairs
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.errors import DataError
from cl_haystack.progress import OnProgress, ignore

MAX_PAIRS = 1_000  # three minutes of training on two cores
MAX_QUESTIONS = 1_000
HELD_OUT_FRACTION = 0.5
_MIN_PAIRS = 20
_MIN_QUESTIONS = 20


@dataclass(frozen=True)
class HeadedText:
    """A heading and the text under it.

    :param id: the document's id.
    :param group: documents of one group are trained on together or not at all.
    :param heading: becomes a question.
    :param text: becomes the document.
    """

    id: str
    group: str
    heading: str
    text: str


@dataclass(frozen=True)
class CollectionCounts:
    """What a collection holds.

    :param documents: documents that are searched.
    :param pairs: training pairs.
    :param questions: held-out questions with judgements.
    :param without_heading: documents that are searched but gave neither pair nor question.
    """

    documents: int
    pairs: int
    questions: int
    without_heading: int


def read_headed_texts(docs: Path | None, on_progress: OnProgress = ignore) -> list[HeadedText]:
    """Read the documents.

    :param docs: a BEIR-style corpus; None takes the docstrings of the running Python's standard library.
    :param on_progress: told what has been read.
    :returns: all documents; the heading of those without one is empty.
    :raises DataError: the corpus cannot be read.
    """
    if docs is None:
        return [
            HeadedText(docstring.name, docstring.module, docstring.summary, docstring.body)
            for docstring in read_stdlib_docstrings(on_progress)
        ]
    return [
        HeadedText(document.id, document.id, document.title.strip(), document.text)
        if document.text.strip()
        else HeadedText(document.id, document.id, "", document.title)
        for document in read_corpus(docs)
    ]


def write_collection(texts: Sequence[HeadedText], folder: Path) -> CollectionCounts:
    """Write corpus, questions, judgements and training pairs.

    A question that also heads a training document is left out: it has been trained on. Where several
    held-out documents share a heading, all of them are relevant to it.

    :param texts: documents.
    :param folder: gets a BEIR directory and ``pairs.jsonl``.
    :returns: counts.
    :raises DataError: there are too few headings to train and test on.
    """
    headed = [text for text in texts if text.heading]
    train = [text for text in headed if not is_held_out(text.group, fraction=HELD_OUT_FRACTION)]
    held_out = [text for text in headed if is_held_out(text.group, fraction=HELD_OUT_FRACTION)]
    trained_headings = {_folded(text.heading) for text in train}
    relevant: dict[str, list[HeadedText]] = defaultdict(list)
    for text in held_out:
        if _folded(text.heading) not in trained_headings:
            relevant[_folded(text.heading)].append(text)
    questions = _sample([group[0] for group in relevant.values()], MAX_QUESTIONS)
    pairs = _sample(train, MAX_PAIRS)
    if len(pairs) < _MIN_PAIRS or len(questions) < _MIN_QUESTIONS:
        raise DataError(
            f"{len(headed)} of {len(texts)} documents have a title and a text, which gives {len(pairs)} "
            f"training pairs and {len(questions)} held-out questions; at least {_MIN_PAIRS} and "
            f"{_MIN_QUESTIONS} are needed"
        )
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "corpus.jsonl", ({"_id": t.id, "title": "", "text": t.text} for t in texts))
    _write_lines(folder / "queries.jsonl", ({"_id": q.id, "text": q.heading} for q in questions))
    with write_beside(folder / "qrels" / "test.tsv") as file:
        file.write(b"query-id\tcorpus-id\tscore\n")
        for question in questions:
            for text in relevant[_folded(question.heading)]:
                file.write(f"{question.id}\t{text.id}\t1\n".encode())
    write_pairs((Pair(anchor=t.heading, positive=t.text, source=t.id) for t in pairs), folder / "pairs.jsonl")
    return CollectionCounts(
        documents=len(texts),
        pairs=len(pairs),
        questions=len(questions),
        without_heading=len(texts) - len(headed),
    )


def _sample(texts: Sequence[HeadedText], most: int) -> list[HeadedText]:
    """Take at most so many, the same ones on every machine, in the order given."""
    chosen = sorted(texts, key=lambda text: hashlib.sha256(text.id.encode()).digest())[:most]
    kept = {text.id for text in chosen}
    return [text for text in texts if text.id in kept]


def _folded(heading: str) -> str:
    return " ".join(heading.casefold().split())


def _write_lines(path: Path, records: Iterator[dict[str, str]]) -> None:
    with write_beside(path) as file:
        for record in records:
            file.write(orjson.dumps(record) + b"\n")
