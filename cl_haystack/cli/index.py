"""``cl-haystack index``: a corpus into OpenSearch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_haystack.cli.console import err, print_json, progress_bar, sigterm_interrupts
from cl_haystack.cli.index_sources import Found, open_source

if TYPE_CHECKING:
    from cl_haystack.encoder import Encoder
    from cl_haystack.opensearch.indexing.report import IndexingReport
    from cl_haystack.progress import OnProgress, Progress

Work = Callable[..., "IndexingReport"]
Source = Callable[["Encoder"], AbstractContextManager[Found]]

_SOME_REFUSED = 3
_NEW = "A new index"
_SPEED = "Speed and safety"


class DataType(StrEnum):
    """How vectors are stored."""

    FLOAT = "float"
    BYTE = "byte"
    BINARY = "binary"


class Policy(StrEnum):
    """What happens to documents whose ids are there: Haystack's ``DuplicatePolicy``."""

    OVERWRITE = "overwrite"
    SKIP = "skip"
    FAIL = "fail"
    NONE = "none"


def index(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: its directory or packed file.")],
    name: Annotated[str, typer.Option("--index", help="Name of the index; made if it does not exist.")],
    corpus: Annotated[
        Path | None,
        typer.Argument(metavar="CORPUS", help="Documents: _id, title, text, meta; JSONL or Parquet."),
    ] = None,
    from_index: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Instead of CORPUS, all documents of this index; "
            "https://user:password@host:9200/NAME for another server's.",
        ),
    ] = None,
    keep_vectors: Annotated[
        bool,
        typer.Option(
            "--keep-vectors",
            help="With --from-index: do not embed again; a sample shows whether they are BUNDLE's.",
        ),
    ] = False,
    policy: Annotated[
        Policy, typer.Option(help="Documents whose ids are there already: fail and none make them an error.")
    ] = Policy.OVERWRITE,
    meta_field: Annotated[
        list[str] | None, typer.Option(help="Meta field that is embedded before the content; repeatable.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    dead_letters: Annotated[
        Path | None,
        typer.Option(help="File for what is refused, broken lines too; without it that is an error."),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="Also remember refused documents and counts over a kill; removed at the end."),
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(
            min=1, help="Bulk requests at a time; default: 1 while embedding.", rich_help_panel=_SPEED
        ),
    ] = None,
    force_merge: Annotated[
        bool,
        typer.Option(
            "--force-merge",
            help="Merge into one segment at the end: slow, fastest searches.",
            rich_help_panel=_SPEED,
        ),
    ] = False,
    drop_replicas: Annotated[
        bool,
        typer.Option(
            "--drop-replicas",
            help="Fill an empty index without replicas; restored at the end.",
            rich_help_panel=_SPEED,
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.", rich_help_panel=_SPEED)] = "cpu",
    use_ray: Annotated[
        bool,
        typer.Option(
            "--ray",
            help="Work on the Ray cluster at $RAY_ADDRESS, else on one of this machine.",
            rich_help_panel=_SPEED,
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="With --ray: most workers; default: all that fit.", rich_help_panel=_SPEED),
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="Primary shards (default: 1).", rich_help_panel=_NEW)
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=0, help="Copies of each shard (default: 1).", rich_help_panel=_NEW)
    ] = None,
    analyzer: Annotated[
        str | None, typer.Option(help="Of the text, such as english.", rich_help_panel=_NEW)
    ] = None,
    data_type: Annotated[
        DataType | None,
        typer.Option(
            help="byte: a quarter of the size; binary: a 32nd (default: float).", rich_help_panel=_NEW
        ),
    ] = None,
    m: Annotated[
        int | None, typer.Option("--m", help="Links of a node of HNSW (default: 16).", rich_help_panel=_NEW)
    ] = None,
    ef_construction: Annotated[
        int | None,
        typer.Option(
            help="Candidates that HNSW looks at while building (default: 100).", rich_help_panel=_NEW
        ),
    ] = None,
    compression_level: Annotated[
        str | None,
        typer.Option(help="4x with Lucene; 2x, 8x, 16x, 32x need faiss.", rich_help_panel=_NEW),
    ] = None,
    truncate_dim: Annotated[
        int | None,
        typer.Option(help="Keep the first dimensions alone, of a Matryoshka model.", rich_help_panel=_NEW),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Embed a corpus, or what is in another index, and write it to an index that remembers its model.

    Run it again after whatever went wrong, or after the corpus has changed: documents that are there
    unchanged are neither embedded nor written. Exit status: 0 all is indexed; 3 all but the documents in
    --dead-letters; 1 an error; 130 or 143 interrupted.

    [bold]Examples[/bold]

    cl-haystack index bundle corpus.jsonl --index articles --url http://127.0.0.1:9200

    cl-haystack index bundle corpus.parquet --index articles --shards 3 --data-type byte --ray

    cl-haystack index bundle --from-index haystack-default --index articles
    """
    from haystack.document_stores.types import DuplicatePolicy

    from cl_haystack.errors import ConfigurationError

    if (corpus is None) == (from_index is None):
        raise typer.BadParameter("give either CORPUS or --from-index")
    if keep_vectors and not from_index:
        raise typer.BadParameter("--keep-vectors is for --from-index: a corpus has none")
    if use_ray and from_index:
        raise ConfigurationError("--ray takes parts of a file; give CORPUS, or leave out --ray")
    if use_ray and (journal or streams):
        raise ConfigurationError(
            "--journal and --streams are of a job on one machine; leave out those or --ray"
        )
    if workers and not use_ray:
        raise ConfigurationError("--workers counts those of --ray; give both or none")
    settings = _without_none(
        number_of_shards=shards,
        number_of_replicas=replicas,
        analyzer=analyzer,
        data_type=data_type and data_type.value,
        m=m,
        ef_construction=ef_construction,
        compression_level=compression_level,
        truncate_dim=truncate_dim,
    )
    common = {
        "policy": DuplicatePolicy[policy.name],
        "meta_fields_to_embed": meta_field or (),
        "dead_letters": dead_letters,
        "force_merge": force_merge,
        "drop_replicas": drop_replicas,
    }
    with _reported(as_json=as_json), sigterm_interrupts(), progress_bar(f"indexing into {name}") as draw:
        if use_ray:
            work = _on_ray(bundle, url, name, settings, device)
            report = work(corpus, workers=workers, on_progress=draw, **common)
        else:
            work = _here(bundle, url, name, settings, device)
            source = partial(
                open_source,
                corpus=corpus,
                from_index=from_index,
                url=url,
                keep_vectors=keep_vectors,
                keep_broken_lines=dead_letters is not None,
            )
            report = work(source, streams=streams, journal=journal, on_progress=draw, **common)
    _print(report, as_json=as_json)
    if report.rejected:
        raise typer.Exit(_SOME_REFUSED)


@contextmanager
def _reported(*, as_json: bool) -> Iterator[None]:
    """Print what was done until then when an error, or Ctrl-C, ends the block."""
    from haystack.document_stores.errors import DuplicateDocumentError

    from cl_haystack.errors import IndexingError
    from cl_haystack.opensearch.indexing.unfinished import report_of

    try:
        yield
    except BaseException as error:
        if (report := report_of(error)) is not None:
            _print(report, as_json=as_json)
        if isinstance(error, DuplicateDocumentError):  # Haystack's, which is none of the command line's
            raise IndexingError(str(error)) from error
        raise


def _print(report: "IndexingReport", *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
    else:
        err.print(
            f"{report.index}: {report.read:,} read, {report.skipped:,} skipped, {report.embedded:,} "
            f"embedded, {report.written:,} written, {report.rejected:,} refused in "
            f"{report.seconds['total']:.1f} s"
        )


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _here(bundle: Path, url: str | None, name: str, settings: dict[str, Any], device: str) -> Work:
    from cl_haystack.encoder import Encoder
    from cl_haystack.encoder.settings import as_device
    from cl_haystack.opensearch import OpenSearchIndex, index_documents

    encoder = Encoder.load(bundle, device=as_device(device), truncate_dim=settings.get("truncate_dim"))

    def work(source: Source, *, on_progress: "OnProgress", **options: Any) -> "IndexingReport":
        with (
            closing(OpenSearchIndex(url, name, encoder.bundle, settings=settings)) as target,
            source(encoder) as (documents, total),
        ):

            def tell(step: "Progress") -> None:
                on_progress(replace(step, total=step.total or total))

            return index_documents(documents, target, encoder, on_progress=tell, **options)

    return work


def _on_ray(bundle: Path, url: str | None, name: str, settings: dict[str, Any], device: str) -> Work:
    from cl_haystack.encoder.settings import as_device
    from cl_haystack.opensearch import OpenSearchIndex
    from cl_haystack.opensearch.indexing.ray_jobs import index_with_ray

    def work(corpus: Path, **options: Any) -> "IndexingReport":
        with closing(OpenSearchIndex(url, name, bundle.absolute(), settings=settings)) as target:
            return index_with_ray(corpus.absolute(), target, device=as_device(device), **options)

    return work
