"""``cl-haystack pairs describe``: what people know of pairs, and what the files say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cl_haystack.cli.console import err, print_json
from cl_haystack.cli.console import out as console

if TYPE_CHECKING:
    from cl_haystack.data.datasheet import Datasheet


def describe(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.jsonl", help="Training pairs.")],
    source: Annotated[str | None, typer.Option(help="Where the texts come from, in words.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the pairs.")] = None,
    judged_by: Annotated[
        str | None, typer.Option(help="Who says that the texts belong together: people, clicks, a model.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="When the oldest was made.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="When the newest was made.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the datasheet as JSON.")] = False,
) -> None:
    """Show the datasheet of pairs, or add what only people know.

    It lies beside the pairs, as PAIRS.datasheet.json, and goes with them into the checkpoint, the bundle and
    the model card. Without options nothing is written.

    [bold]Example[/bold]

    cl-haystack pairs describe pairs.jsonl --source "support tickets" --judged-by "two agents"
    """
    from cl_haystack.data.datasheet import write_datasheet
    from cl_haystack.data.records import parse_time

    for time in filter(None, (since, until)):
        parse_time(time)
    sheet = _sheet_of(pairs)
    told = {"source": source, "licence": licence, "judged_by": judged_by, "since": since, "until": until}
    changes = {name: value for name, value in told.items() if value is not None}
    if changes:
        sheet = sheet.model_copy(update=changes)
        write_datasheet(pairs, sheet)
    if as_json:
        print_json(sheet.model_dump(mode="json"))
        return
    for name, value in sheet.model_dump(exclude={"format", "format_version", "inputs", "curation"}).items():
        console.print(Text(f"{name.replace('_', ' ')}: {value or 'not stated'}"), soft_wrap=True)
    for entry in sheet.inputs:
        console.print(Text(f"made of: {entry.name}, {entry.bytes:,} bytes, sha256 {entry.sha256[:16]}"))
    for step in sheet.curation:
        counts = ", ".join(f"{name} {count:,}" for name, count in step.counts.items() if count)
        console.print(Text(f"step: {step.name} ({counts})"), soft_wrap=True)


def _sheet_of(pairs: Path) -> "Datasheet":
    from cl_haystack.data import read_pairs
    from cl_haystack.data.datasheet import datasheet_path, new_datasheet, read_datasheet, read_sheet_beside

    sheet, before = read_datasheet(pairs), read_sheet_beside(pairs)
    if sheet is not None:
        return sheet
    if before is not None:
        name = datasheet_path(pairs).name
        err.print(
            f"warning: {name} is that of other pairs than {pairs.name} holds; only what people said is taken",
        )
    return new_datasheet(pairs, before, num_pairs=sum(1 for _ in read_pairs(pairs)))
