"""``cl-haystack pairs from-corpus | from-qrels``: pairs from documents and judgements."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_haystack.cli.console import err, print_json, progress_bar
from cl_haystack.progress import counted

if TYPE_CHECKING:
    from cl_haystack.data import CorpusDocument, Pair, PairCounts
    from cl_haystack.data.beir import Oddity

Out = Annotated[Path, typer.Option("-o", "--out", metavar="PAIRS.jsonl", help="File to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")]

_KINDS_SHOWN = 10
_SKIPPED = {
    "duplicates": "the same pair was there before",
    "without_title": "no title",
    "without_text": "no text",
    "without_pattern": "nothing of the kind",
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
    SECTION = "section"
    QUESTION = "question"
    DEFINITION = "definition"
    DOCSTRING = "docstring"


def from_corpus(
    corpus: Annotated[
        Path,
        typer.Argument(
            metavar="CORPUS.jsonl|FOLDER",
            help="Documents: _id, title, text, meta; or a folder of Markdown, HTML, text and Python files.",
        ),
    ],
    out: Out,
    method: Annotated[
        list[Method] | None,
        typer.Option(
            help="title: title → text (the default); cloze: a sentence → title and the rest of the text; "
            "crop: one part of the document → another; section: a Markdown heading → its section; "
            "question: a question → its answer; definition: a term → what it is; docstring: a Python name → "
            "its docstring. Repeat for several.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other sentences and parts.")] = 42,
    as_json: AsJson = False,
) -> None:
    """Make pairs of each document, by each method; no labels needed.

    [bold]Examples[/bold]

    cl-haystack pairs from-corpus corpus.jsonl --method title --method cloze -o pairs.jsonl

    cl-haystack pairs from-corpus docs/ --method section --method question -o pairs.jsonl
    """
    from cl_haystack.data import PairCounts, pairs_from_corpus
    from cl_haystack.data.beir import Oddity, odd
    from cl_haystack.data.folders import FolderCounts, read_folder

    counts, files, given = PairCounts(), FolderCounts(), GivenCorpus(corpus)
    methods = method or [Method.TITLE]
    documents = read_folder(corpus, files) if corpus.is_dir() else given.documents()
    pairs = pairs_from_corpus(documents, counts, methods=methods, seed=seed)
    names = ", ".join(map(str, methods))
    sources = () if corpus.is_dir() else (corpus,)
    origin = Origin(f"from-corpus ({names}, seed {seed})", sources, "nobody: parts of the same document")

    def oddities() -> list[Oddity]:
        found = given.oddities() + odd("files hold no text or cannot be read", files.unreadable)
        if others := files.other_files:
            kinds = [f"{count:,} {ending or 'without'}" for ending, count in others.most_common(_KINDS_SHOWN)]
            kinds += ["…"] if len(others) > _KINDS_SHOWN else []
            what = f"files are not read, for their endings: {', '.join(kinds)}"
            found.append(Oddity(what, others.total(), ()))
        return found

    _write(pairs, counts, out, corpus, origin, oddities, as_json=as_json)


def from_qrels(
    directory: Annotated[
        Path, typer.Argument(metavar="BEIRDIR", help="corpus.jsonl, queries.jsonl, qrels/.")
    ],
    out: Out,
    split: Annotated[str, typer.Option(help="Which judgements: qrels/SPLIT.tsv.")] = "train",
    num_negatives: Annotated[
        int, typer.Option(min=0, help="Most negatives of a pair: documents judged not relevant.")
    ] = 0,
    scores: Annotated[
        bool, typer.Option("--scores", help="Write grades as scores, the highest as 1, for graded losses.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a pair query → document of each judgement above 0.

    Lines that cannot be used, judgements of unknown documents and queries, and queries without judgement are
    counted and named.

    [bold]Examples[/bold]

    cl-haystack pairs from-qrels scifact --split train -o pairs.jsonl

    cl-haystack pairs from-qrels graded --num-negatives 3 --scores -o pairs.jsonl
    """
    from cl_haystack.data import PairCounts, pairs_from_qrels, read_beir

    counts = PairCounts()
    task = read_beir(directory, split)
    pairs = pairs_from_qrels(task, counts, num_negatives=num_negatives, with_scores=scores)
    files = (directory / "corpus.jsonl", directory / "queries.jsonl", directory / "qrels" / f"{split}.tsv")
    origin = Origin(f"from-qrels ({split})", files, "whoever made the judgements")
    _write(pairs, counts, out, directory, origin, lambda: task.oddities, as_json=as_json)


class GivenCorpus:
    """A corpus of which the lines that cannot be used are left out, counted and named.

    :param path: the file.
    """

    def __init__(self, path: Path) -> None:
        from cl_haystack.data.lines import Faults

        self._path = path
        self._bad, self._repeated = Faults(), Faults()

    def documents(self) -> "Iterator[CorpusDocument]":
        """Read the documents."""
        from cl_haystack.data import read_corpus

        return read_corpus(self._path, on_fault=self._bad, on_repeated=self._repeated)

    def oddities(self) -> "list[Oddity]":
        """Return what was left out so far."""
        from cl_haystack.data.beir import odd_lines

        lines = f"lines of {self._path.name}"
        return [
            *odd_lines(f"{lines} are no document and left out", self._bad),
            *odd_lines(f"{lines} repeat an id and are left out", self._repeated),
        ]


def refuse_one_file_twice(*paths: Path) -> None:
    """Say before any work that one file would be written over another that is named.

    :param *paths: files to read and to write.
    :raises ConfigurationError: two of them are the same file.
    """
    from cl_haystack.errors import ConfigurationError

    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise ConfigurationError(f"{path} is named twice, and would be written over: name another file")
        seen.add(path.resolve())


def tell_oddities(oddities: "Iterable[Oddity]") -> None:
    """Print what makes data smaller or odd."""
    for oddity in oddities:
        err.print(f"note: {oddity}")


@dataclass(frozen=True)
class Origin:
    """What a datasheet says of how pairs were made.

    :param method: verb and methods.
    :param inputs: files that they were made of.
    :param judged_by: who says that the texts belong together.
    :param since: when the oldest was made, ISO 8601, or empty.
    :param until: and the newest.
    """

    method: str
    inputs: tuple[Path, ...]
    judged_by: str
    since: str = ""
    until: str = ""


def write_described(
    pairs: "Iterable[Pair]", out: Path, origin: Origin, counts: Callable[[], dict[str, int]]
) -> int:
    """Write pairs and their datasheet.

    :param pairs: any number of pairs.
    :param out: the file to write.
    :param origin: how they were made.
    :param counts: tells what became of the records; asked when all pairs are written.
    :returns: number of pairs.
    """
    from cl_haystack.data import write_pairs
    from cl_haystack.data.datasheet import describe_pairs

    with progress_bar(f"writing {out.name}") as on_progress:
        count = write_pairs(counted(pairs, on_progress), out)
    describe_pairs(
        out,
        method=origin.method,
        num_pairs=count,
        inputs=origin.inputs,
        judged_by=origin.judged_by,
        since=origin.since,
        until=origin.until,
        counts=counts(),
    )
    return count


def _write(
    pairs: "Iterator[Pair]",
    counts: "PairCounts",
    out: Path,
    source: Path,
    origin: Origin,
    oddities: "Callable[[], Sequence[Oddity]]",
    *,
    as_json: bool,
) -> None:
    from cl_haystack.errors import DataError

    first = next(pairs, None)
    if first is None:
        why = "; ".join(filter(None, [_skipped(counts), *map(str, oddities())]))
        raise DataError(f"no pair could be made: {why}; nothing was written", path=source)
    write_described(chain([first], pairs), out, origin, counts.as_dict)
    if as_json:
        print_json(counts.as_dict() | {"oddities": [asdict(oddity) for oddity in oddities()]})
        return
    tell_oddities(oddities())
    skipped = _skipped(counts)
    err.print(f"{out}: {counts.pairs:,} pairs" + (f"; skipped: {skipped}" if skipped else ""))


def _skipped(counts: "PairCounts") -> str:
    found = counts.as_dict()
    return ", ".join(f"{found[name]:,} ({reason})" for name, reason in _SKIPPED.items() if found[name])
