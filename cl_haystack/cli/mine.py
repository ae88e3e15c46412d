"""``cl-haystack mine``: hard negatives for pairs, from a corpus."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_haystack.cli.console import err, print_json, progress_bar
from cl_haystack.cli.models import open_index_of, open_model
from cl_haystack.cli.query import Mode

if TYPE_CHECKING:
    from cl_haystack.data import MiningReport, Pair
    from cl_haystack.encoder.protocol import Search, TextEncoder

_EXCLUDED = {
    "known_positives": "a positive of the anchor",
    "near_duplicates": "almost a positive's text",
    "too_similar": "within the margin of the positive",
    "repeated": "there already",
}


class Sampling(StrEnum):
    """Which of the candidates that pass."""

    top = "top"
    random = "random"


def mine(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS.jsonl", help="Training pairs; .csv, .tsv and .parquet too.")
    ],
    corpus: Annotated[
        Path, typer.Argument(metavar="CORPUS.jsonl", help="Documents: _id, title, text, meta.")
    ],
    model: Annotated[
        str, typer.Option(metavar="BUNDLE|CHECKPOINT", help="What searches and measures similarity.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT.jsonl", help="File to write.")],
    index: Annotated[
        str | None,
        typer.Option(help="Take candidates from this index of OpenSearch; without it, search in memory."),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="How to search the index.")] = Mode.dense,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    num_negatives: Annotated[int, typer.Option(min=1, help="Negatives to add to a pair.")] = 1,
    rank_range: Annotated[
        str, typer.Option(metavar="FIRST:END", help="Ranks to take candidates from; END is not one of them.")
    ] = "0:50",
    relative_margin: Annotated[
        float, typer.Option(help="A negative's cosine is at least this fraction of the positive's below it.")
    ] = 0.05,
    absolute_margin: Annotated[
        float, typer.Option(help="A negative's cosine is at least this much below the positive's.")
    ] = 0.0,
    sampling: Annotated[
        Sampling, typer.Option(help="Take the first candidates that pass, or some by lot.")
    ] = Sampling.top,
    seed: Annotated[int, typer.Option(help="Another seed draws other candidates.")] = 42,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Give pairs hard negatives: documents that a search takes for answers, and that are none.

    Positives known for the same anchor, near copies of them, and whatever is almost as similar as the
    positive are left out. The cosines are kept with each pair, as candidate_scores, in place of a teacher's.

    [bold]Example[/bold]

    cl-haystack mine pairs.jsonl corpus.jsonl --model bundle --num-negatives 3 -o with-negatives.jsonl
    """
    from cl_haystack.data import mine_hard_negatives, read_corpus, read_pairs, write_pairs
    from cl_haystack.data.datasheet import Step, carry_datasheet, new_datasheet, read_datasheet
    from cl_haystack.errors import DataError

    if mode != Mode.dense and index is None:
        raise typer.BadParameter(f"{mode} searches an index: name it with --index", param_hint="--mode")
    ranks = _parse_ranks(rank_range)
    given = list(read_pairs(pairs))
    if scored := sum(pair.candidate_scores is not None for pair in given):
        err.print(f"warning: cosines take the place of the candidate_scores that {scored:,} pairs bring")
    sheet = read_datasheet(pairs) or new_datasheet(pairs, None, num_pairs=len(given))  # OUT may be PAIRS
    encoder, label = open_model(model)
    report: MiningReport | None = None

    def mined() -> "Iterator[Pair]":
        nonlocal report
        with _open_search(index, mode, url, encoder, model) as search, progress_bar("mining") as on_progress:
            found, report = mine_hard_negatives(
                given,
                read_corpus(corpus),
                encoder,
                search=search,
                num_negatives=num_negatives,
                rank_range=ranks,
                relative_margin=relative_margin,
                absolute_margin=absolute_margin,
                sampling=sampling.value,
                seed=seed,
                on_progress=on_progress,
            )
        if not report.mined:
            raise DataError(f"no pair got a negative: {_excluded(report)}; nothing was written", path=pairs)
        yield from found

    write_pairs(mined(), out)  # says that the file cannot be written before the work, not after
    assert report is not None
    step = Step(name=f"mine with {label}", counts=report.as_dict())
    carry_datasheet(pairs, out, num_pairs=report.pairs, step=step, before=sheet)
    if report.not_in_corpus:
        err.print(f"warning: {report.not_in_corpus:,} documents that index {index} named are not in {corpus}")
    if as_json:
        print_json(report.as_dict())
        return
    err.print(
        f"{out}: {report.mined:,} negatives for {report.with_mined:,} of {report.pairs:,} pairs, by {label}; "
        f"left out: {_excluded(report)}"
    )


def _parse_ranks(text: str) -> tuple[int, int]:
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal()):
        raise typer.BadParameter(f"{text!r}; expected two numbers such as 0:50", param_hint="--rank-range")
    return int(first), int(end)


@contextmanager
def _open_search(
    index: str | None, mode: Mode, url: str | None, encoder: "TextEncoder", model: str
) -> "Iterator[Search | None]":
    from cl_haystack.evaluation.live import index_search

    if index is None:
        yield None
        return
    with open_index_of(index, url, encoder, model) as (target, index_encoder):
        yield index_search(target, index_encoder, mode.value)


def _excluded(report: "MiningReport") -> str:
    found = report.as_dict()
    reasons = [f"{found[name]:,} ({reason})" for name, reason in _EXCLUDED.items() if found[name]]
    return f"{', '.join(reasons) or 'nothing'}, of {report.candidates:,} candidates"
