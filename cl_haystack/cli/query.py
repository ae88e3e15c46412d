"""``cl-haystack query``: one search, as a pipeline would make it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cl_haystack.cli.console import out, print_json

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
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the documents as JSON.")] = False,
) -> None:
    """Search an index with the model it was built with.

    [bold]Example[/bold]

    cl-haystack query bundle "how do I merge two sorted lists" --index articles --mode hybrid
    """
    from cl_haystack.encoder import Encoder
    from cl_haystack.opensearch import OpenSearchIndex

    encoder = Encoder.load(bundle)
    target = OpenSearchIndex(url, name, encoder.bundle)
    try:
        if mode == Mode.bm25:
            documents = target.bm25(text, top_k=top_k)
        else:
            vector = encoder.encode_queries([text])[0]
            documents = (
                target.search(vector, top_k=top_k)
                if mode == Mode.dense
                else target.hybrid_search(text, vector, top_k=top_k)
            )
    finally:
        target.close()
    if as_json:
        print_json([{"id": d.id, "score": d.score, "content": d.content, "meta": d.meta} for d in documents])
        return
    table = Table("score", "id", "content", box=None, pad_edge=False)
    for document in documents:
        snippet = " ".join((document.content or "").split())[:_SNIPPET_CHARS]
        table.add_row(f"{document.score:.4f}", document.id, snippet)
    out.print(table)
