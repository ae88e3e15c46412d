"""``cl-haystack index``: a corpus into OpenSearch."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.console import err, print_json, progress_bar, sigterm_interrupts

_SOME_REFUSED = 3


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
    journal: Annotated[
        Path | None,
        typer.Option(help="Also remember refused documents and counts over a kill; removed at the end."),
    ] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, help="Bulk requests at a time; default: 1 while embedding.")
    ] = None,
    force_merge: Annotated[
        bool, typer.Option("--force-merge", help="Merge into one segment at the end: slow, fastest searches.")
    ] = False,
    drop_replicas: Annotated[
        bool,
        typer.Option("--drop-replicas", help="Fill an empty index without replicas; restored at the end."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Embed a corpus and write it to an index that remembers its model.

    Run it again after whatever went wrong, or after the corpus has changed: documents that are there
    unchanged are neither embedded nor written. Exit status: 0 all is indexed; 3 all but the documents in
    --dead-letters; 1 an error; 130 or 143 interrupted.

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
        total = _num_lines(corpus)
        with sigterm_interrupts(), progress_bar(f"indexing into {name}") as draw:
            report = index_documents(
                documents,
                target,
                encoder,
                dead_letters=dead_letters,
                journal=journal,
                streams=streams,
                force_merge=force_merge,
                drop_replicas=drop_replicas,
                on_progress=lambda step: draw(replace(step, total=step.total or total)),
            )
    finally:
        target.close()
    if as_json:
        print_json(report.to_dict())
    else:
        err.print(
            f"{name}: {report.read:,} read, {report.skipped:,} skipped, {report.embedded:,} embedded, "
            f"{report.written:,} written, {report.rejected:,} refused in {report.seconds['total']:.1f} s"
        )
    if report.rejected:
        raise typer.Exit(_SOME_REFUSED)


def _num_lines(path: Path) -> int | None:
    """Count lines, so that the time left can be told; None where the file is no plain one."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
