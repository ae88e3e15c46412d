"""``cl-haystack duplicates``: which documents of an index say the same."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cl_haystack.cli.console import out, print_json, progress_bar
from cl_haystack.cli.models import open_index
from cl_haystack.cli.search_options import parse_filters, parse_threshold

_SNIPPET_CHARS = 100
_SHOWN_GROUPS = 50


def duplicates(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: its directory or packed file.")],
    name: Annotated[str, typer.Option("--index", help="Name of the index or alias.")],
    threshold: Annotated[
        str,
        typer.Option(
            metavar="SIMILARITY|NAME",
            help="Least similarity of two duplicates, such as 0.95, or the name of a threshold that evaluate "
            "--calibrate has written into the bundle.",
        ),
    ] = "duplicate",
    filters: Annotated[
        list[str] | None,
        typer.Option(metavar="FILTERS", help="Among these documents alone, as in query --filters."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all groups as JSON.")] = False,
) -> None:
    """Find near-duplicates among all documents of an index, in groups.

    Duplicates of duplicates are in one group. Nothing is changed.

    [bold]Example[/bold]

    cl-haystack duplicates bundle --index articles --threshold 0.95 --json
    """
    from cl_haystack.bundle import ModelBundle

    with open_index(name, url, ModelBundle.load(bundle)) as index:
        with progress_bar(f"duplicates in {name}") as on_progress:
            groups = index.duplicates(
                parse_threshold(threshold), filters=parse_filters(filters or []), on_progress=on_progress
            )
        if as_json:
            print_json([{"ids": group.ids, "lowest_similarity": group.lowest_similarity} for group in groups])
            return
        table = Table("group", "similarity", "id", "content", box=None, pad_edge=False)
        for number, group in enumerate(groups[:_SHOWN_GROUPS], start=1):
            for position, document in enumerate(index.get_documents(group.ids)):
                first = (str(number), f"≥ {group.lowest_similarity:.3f}") if position == 0 else ("", "")
                snippet = " ".join((document.content or "").split())[:_SNIPPET_CHARS]
                table.add_row(*first, escape(document.id), escape(snippet))
    if groups:
        out.print(table)
    if len(groups) > _SHOWN_GROUPS:
        out.print(f"… and {len(groups) - _SHOWN_GROUPS:,} more groups; --json prints all")
    out.print(f"{sum(len(group.ids) for group in groups):,} documents in {len(groups):,} groups")
