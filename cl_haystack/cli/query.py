"""``cl-haystack query``: one search, as a pipeline would make it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cl_haystack.cli.console import out, print_json
from cl_haystack.cli.models import open_encoder, open_index
from cl_haystack.cli.search_options import parse_filters, parse_threshold

_SNIPPET_CHARS = 160


class Mode(StrEnum):
    """How to search."""

    dense = "dense"
    bm25 = "bm25"
    hybrid = "hybrid"


def query(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: its directory or packed file.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The question.")],
    name: Annotated[str, typer.Option("--index", help="Name of the index or alias.")],
    mode: Annotated[Mode, typer.Option(help="Vectors, words, or both in one request.")] = Mode.dense,
    top_k: Annotated[int, typer.Option(min=1, help="How many documents.")] = 10,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filters",
            metavar="FILTERS",
            help="Only documents with this meta: 'meta.lang == en', 'meta.year >= 2020', "
            "'meta.kind in faq, guide', or Haystack filters as JSON. Several must all hold.",
        ),
    ] = None,
    min_score: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE|NAME",
            help="Only what reaches this score, as the table shows it, or a threshold that the bundle was "
            "calibrated with, such as 'duplicate'. For --mode dense.",
        ),
    ] = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="The higher, the later come documents like one above. Not with --mode bm25."
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every vector, not by HNSW. For --mode dense.")
    ] = False,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the documents as JSON.")] = False,
) -> None:
    """Search an index with the model it was built with.

    [bold]Examples[/bold]

    cl-haystack query bundle "how do I merge two sorted lists" --index articles --mode hybrid

    cl-haystack query bundle "reset my password" --index faq --filters 'meta.lang == en' --min-score 0.8
    """
    from cl_haystack.bundle import ModelBundle

    _check_mode(mode, min_score, diversity, exact=exact)
    options: dict[str, Any] = {"top_k": top_k, "filters": parse_filters(filters or [])}
    with open_index(name, url, ModelBundle.load(bundle)) as index:
        if mode == Mode.bm25:
            documents = index.bm25(text, **options)
        else:
            vector = open_encoder(index).encode_queries([text])[0]
            if mode == Mode.hybrid:
                documents = index.hybrid_search(text, vector, diversity=diversity, **options)
            elif min_score is not None:
                documents = index.radial(vector, min_score=parse_threshold(min_score), exact=exact, **options)
            else:
                documents = index.search(vector, diversity=diversity, exact=exact, **options)
    if as_json:
        print_json([{"id": d.id, "score": d.score, "content": d.content, "meta": d.meta} for d in documents])
        return
    table = Table("score", "id", "content", box=None, pad_edge=False)
    for document in documents:
        snippet = " ".join((document.content or "").split())[:_SNIPPET_CHARS]
        table.add_row(f"{document.score:.4f}", escape(document.id), escape(snippet))
    out.print(table if documents else "nothing found")


def _check_mode(mode: Mode, min_score: str | None, diversity: float | None, *, exact: bool) -> None:
    if mode != Mode.dense and (exact or min_score is not None):
        option = "--exact" if exact else "--min-score"
        raise typer.BadParameter(
            f"searches by vectors alone: use --mode dense, not {mode}", param_hint=option
        )
    if diversity is not None and (mode == Mode.bm25 or min_score is not None):
        other = "--mode bm25" if mode == Mode.bm25 else "--min-score"
        raise typer.BadParameter(f"is not for {other}; leave one of them out", param_hint="--diversity")
