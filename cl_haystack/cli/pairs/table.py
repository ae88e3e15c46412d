"""``cl-haystack pairs from-table``: pairs of the rows of a table."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.console import err, print_json
from cl_haystack.cli.pairs.making import AsJson, Origin, Out, write_described

_FAULTS_SHOWN = 5


def from_table(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="A .csv, .tsv, .parquet or .jsonl file with a header.")
    ],
    out: Out,
    anchor: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of the anchors.")] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the texts that belong to them.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of labels, 0 or 1.")] = None,
    score: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of grades.")] = None,
    topic: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of topics, for a split by them.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that tells when a row was made, ISO 8601.")
    ] = None,
    max_score: Annotated[
        float, typer.Option(min=1e-9, help="Highest grade of the scale, such as 5 for STS.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Make a pair of each row of a table: questions and answers, duplicates, graded pairs.

    Without --anchor and --positive the columns are guessed from names such as question and answer.

    [bold]Examples[/bold]

    cl-haystack pairs from-table faq.csv -o pairs.jsonl

    cl-haystack pairs from-table tickets.parquet --anchor subject --positive resolution -o pairs.jsonl

    cl-haystack pairs from-table sts.tsv --anchor s1 --positive s2 --score gold --max-score 5 -o pairs.jsonl
    """
    from cl_haystack.data.tables import Columns, TableCounts, pairs_from_table
    from cl_haystack.errors import DataError

    if (anchor is None) != (positive is None) or (anchor is None and (label or score or topic or time)):
        raise typer.BadParameter(
            "name both; without them all columns are guessed", param_hint="--anchor, --positive"
        )
    columns = (
        None if anchor is None or positive is None else Columns(anchor, positive, label, score, topic, time)
    )
    counts = TableCounts()
    faults: list[DataError] = []

    def remember(fault: DataError, line: bytes) -> None:
        if len(faults) < _FAULTS_SHOWN:
            faults.append(fault)

    pairs = pairs_from_table(table, counts, columns=columns, max_score=max_score, on_fault=remember)
    first = next(pairs, None)
    if first is not None:
        origin = Origin("from-table", (table,), "whoever made the table")
        write_described(chain([first], pairs), out, origin, counts.as_dict)
    for fault in faults:
        err.print(f"skipped: {fault}")
    if first is None:
        raise DataError(f"no row gave a pair: {counts.as_dict()}; nothing was written", path=table)
    if as_json:
        print_json(counts.as_dict())
        return
    err.print(
        f"{out}: {counts.pairs:,} pairs; skipped: {counts.without_text:,} (a text is empty), "
        f"{counts.unreadable:,} (cannot be read)",
    )
