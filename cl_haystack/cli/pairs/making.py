"""``cl-haystack pairs from-corpus | from-qrels``: pairs from documents and judgements."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_haystack.cli.console import err, print_json

if TYPE_CHECKING:
    from cl_haystack.data import Pair, PairCounts

Out = Annotated[Path, typer.Option("-o", "--out", metavar="PAIRS.jsonl", help="File to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")]

_SKIPPED = {
    "duplicates": "the same pair was there before",
    "without_title": "no title",
    "without_text": "no text",
    "too_short": "too short",
    "same_text": "both sides are the same text",
    "missing_documents": "judged document not in the corpus",
    "not_relevant": "judged not relevant",
}


class Method(StrEnum):
    """How to make pairs of a bare corpus."""

    TITLE = "title"  # in capitals: every text has a method title()
    CLOZE = "cloze"
    CROP = "crop"


def from_corpus(
    corpus: Annotated[
        Path, typer.Argument(metavar="CORPUS.jsonl", help="Documents: _id, title, text, meta.")
    ],
    out: Out,
    method: Annotated[
        list[Method] | None,
        typer.Option(
            help="title: title → text (the default); cloze: a sentence → title and the rest of the text; "
            "crop: one part of the document → another. Repeat for several.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other sentences and parts.")] = 42,
    as_json: AsJson = False,
) -> None:
    """Make a pair of each document, by each method; no labels needed.

    [bold]Example[/bold]

    cl-haystack pairs from-corpus corpus.jsonl --method title --method cloze -o pairs.jsonl
    """
    from cl_haystack.data import PairCounts, pairs_from_corpus, read_corpus

    counts = PairCounts()
    methods = method or [Method.TITLE]
    pairs = pairs_from_corpus(read_corpus(corpus), counts, methods=methods, seed=seed)
    _write(pairs, counts, out, corpus, as_json=as_json)


def from_qrels(
    directory: Annotated[
        Path, typer.Argument(metavar="BEIRDIR", help="corpus.jsonl, queries.jsonl, qrels/.")
    ],
    out: Out,
    split: Annotated[str, typer.Option(help="Which judgements: qrels/SPLIT.tsv.")] = "train",
    as_json: AsJson = False,
) -> None:
    """Make a pair query → document of each judgement above 0.

    [bold]Example[/bold]

    cl-haystack pairs from-qrels scifact --split train -o pairs.jsonl
    """
    from cl_haystack.data import PairCounts, pairs_from_qrels, read_beir

    counts = PairCounts()
    _write(pairs_from_qrels(read_beir(directory, split), counts), counts, out, directory, as_json=as_json)


def _write(pairs: "Iterator[Pair]", counts: "PairCounts", out: Path, source: Path, *, as_json: bool) -> None:
    from cl_haystack.data import write_pairs
    from cl_haystack.errors import DataError

    first = next(pairs, None)
    if first is None:
        raise DataError(f"no pair could be made: {_skipped(counts)}; nothing was written", path=source)
    write_pairs(chain([first], pairs), out)
    if as_json:
        print_json(counts.as_dict())
        return
    skipped = _skipped(counts)
    err.print(f"{out}: {counts.pairs:,} pairs" + (f"; skipped: {skipped}" if skipped else ""))


def _skipped(counts: "PairCounts") -> str:
    found = counts.as_dict()
    return ", ".join(f"{found[name]:,} ({reason})" for name, reason in _SKIPPED.items() if found[name])
