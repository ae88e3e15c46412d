"""``cl-haystack index``: a corpus into OpenSearch."""

from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.console import err, print_json, progress_bar


def index(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: its directory or packed file.")],
    corpus: Annotated[
        Path, typer.Argument(metavar="CORPUS.jsonl", help="Documents: _id, title, text, meta.")
    ],
    name: Annotated[str, typer.Option("--index", help="Name of the index; made if it does not exist.")],
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    dead_letters: Annotated[
        Path | None, typer.Option(help="File for documents that are refused; without it they are an error.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Embed a corpus and write it to an index that remembers its model.

    [bold]Example[/bold]

    cl-haystack index bundle corpus.jsonl --index articles --url http://127.0.0.1:9200
    """
    from cl_haystack.data import read_corpus, to_haystack_document
    from cl_haystack.encoder import Encoder
    from cl_haystack.encoder.settings import as_device
    from cl_haystack.opensearch import OpenSearchIndex, index_documents

    encoder = Encoder.load(bundle, device=as_device(device))
    target = OpenSearchIndex(url, name, encoder.bundle)
    documents = (to_haystack_document(document) for document in read_corpus(corpus))
    try:
        with progress_bar(f"indexing into {name}") as on_progress:
            report = index_documents(
                documents, target, encoder, dead_letters=dead_letters, on_progress=on_progress
            )
    finally:
        target.close()
    if as_json:
        print_json(report.to_dict())
    else:
        err.print(
            f"{name}: {report.read:,} read, {report.embedded:,} embedded, {report.written:,} written, "
            f"{report.rejected:,} refused in {report.seconds['total']:.1f} s"
        )
