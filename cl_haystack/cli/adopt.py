"""``cl-haystack adopt``: an index that something else made becomes one that knows its model."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.console import err, print_json


def adopt(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: its directory or packed file.")],
    name: Annotated[str, typer.Option("--index", help="Name of the index or alias.")],
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    sample: Annotated[int, typer.Option(min=1, help="Documents that are embedded again to compare.")] = 100,
    meta_field: Annotated[
        list[str] | None, typer.Option(help="Meta field that was embedded before the content; repeatable.")
    ] = None,
    truncate_dim: Annotated[
        int | None, typer.Option(help="The index holds the first dimensions alone, of a Matryoshka model.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Bind an existing index to the model, after checking that its vectors come from it.

    [bold]Example[/bold]

    cl-haystack adopt bundle --index articles
    """
    from cl_haystack.encoder import Encoder
    from cl_haystack.opensearch import OpenSearchIndex

    encoder = Encoder.load(bundle, truncate_dim=truncate_dim)
    settings = None if truncate_dim is None else {"truncate_dim": truncate_dim}
    with closing(OpenSearchIndex(url, name, encoder.bundle, settings=settings)) as index:
        reports = index.adopt(encoder, sample=sample, meta_fields_to_embed=meta_field or ())
    if as_json:
        print_json([asdict(report) for report in reports])
        return
    for report in reports:
        err.print(
            f"{report.index}: adopted for {encoder.bundle.label}; {report.sampled:,} documents compared, "
            f"lowest cosine {report.lowest_cosine:.4f} (at least {report.min_cosine} expected)"
        )
