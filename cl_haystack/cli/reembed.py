"""``cl-haystack reembed``: another model for an alias, while it is in use."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_haystack.cli.console import err, print_json, progress_bar, sigterm_interrupts

if TYPE_CHECKING:
    from cl_haystack.opensearch.index import OpenSearchIndex
    from cl_haystack.opensearch.reembedding.gate import Gate
    from cl_haystack.opensearch.reembedding.report import ReembedReport

_REFUSED = 3


def reembed(
    alias: Annotated[str, typer.Option(help="The alias that is searched and written to.")],
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="The new model: its directory or packed file.")
    ] = None,
    gate: Annotated[
        Path | None,
        typer.Option(metavar="BEIRDIR", help="Move the alias only if these judged questions say so."),
    ] = None,
    min_gain: Annotated[
        float,
        typer.Option(help="Least nDCG@10 of the new index minus the old one's; negative allows a loss."),
    ] = 0.0,
    split: Annotated[str, typer.Option(help="The gate's judgements: qrels/SPLIT.tsv.")] = "test",
    old_bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="The present model, for the gate (default: found beside the new)."
        ),
    ] = None,
    remove_refused: Annotated[
        bool, typer.Option("--remove-refused", help="Delete the new index if the gate refuses it.")
    ] = False,
    meta_field: Annotated[
        list[str] | None, typer.Option(help="Meta field that is embedded before the content; repeatable.")
    ] = None,
    truncate_dim: Annotated[
        int | None, typer.Option(help="Keep the first dimensions alone, of a Matryoshka model.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Re-embed though the alias belongs to the model's space already; for another --meta-field.",
        ),
    ] = False,
    max_block: Annotated[
        float, typer.Option(help="Seconds that writers wait at most when the alias moves.")
    ] = 60,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Move the alias back to the index it led to before.")
    ] = False,
    make_alias: Annotated[
        bool, typer.Option("--make-alias", help="Only turn an index into an alias of the same name.")
    ] = False,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Embed the documents behind an alias with another model, then move the alias to them.

    Documents may be written, deleted and searched all the time. Run it again after whatever went wrong: what
    is embedded is not embedded twice. The old index is kept for --rollback, which does not take along what is
    written later; going back with --bundle and the old model does. Exit status: 0 the alias leads to the new
    index; 3 the gate refused it; 1 an error; 130 or 143 interrupted.

    [bold]Example[/bold]

    cl-haystack reembed --alias articles --bundle tuned --gate scifact

    cl-haystack reembed --alias articles --rollback
    """
    if sum([bundle is not None, rollback, make_alias]) != 1:
        raise typer.BadParameter("give one of --bundle, --rollback and --make-alias")
    with sigterm_interrupts():
        if rollback:
            _roll_back(alias, url, as_json=as_json)
        elif make_alias:
            _make_alias(alias, url, as_json=as_json)
    if bundle is None:
        return
    from cl_haystack.encoder import Encoder
    from cl_haystack.encoder.settings import as_device
    from cl_haystack.opensearch import OpenSearchIndex, reembed

    encoder = Encoder.load(bundle, device=as_device(device), truncate_dim=truncate_dim)
    settings = None if truncate_dim is None else {"truncate_dim": truncate_dim}
    opened = OpenSearchIndex(url, alias, encoder.bundle, settings=settings)
    with closing(opened) as index, sigterm_interrupts():
        checked = None if gate is None else _gate(index, gate, split, old_bundle, min_gain)
        with progress_bar(f"re-embedding {alias}") as on_progress:
            report = reembed(
                index,
                encoder,
                gate=checked,
                remove_refused=remove_refused,
                force=force,
                meta_fields_to_embed=meta_field or (),
                max_block_s=max_block,
                on_progress=on_progress,
            )
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    if not report.moved and not report.needless:
        raise typer.Exit(_REFUSED)


def _print(report: "ReembedReport") -> None:
    if report.needless:
        err.print(
            f"{report.alias} leads to {report.old}, which belongs to this model's vector space already: "
            "nothing has to be re-embedded (--force does so anyway)"
        )
        return
    err.print(
        f"{report.new}: {report.read:,} read, {report.skipped:,} skipped, {report.embedded:,} embedded, "
        f"{report.caught_up:,} caught up, {report.deleted:,} deleted in {report.seconds['total']:.1f} s; "
        f"{report.sampled:,} documents compared"
    )
    if (found := report.gate) is not None:
        err.print(
            f"{found.metric} on {found.num_queries:,} questions: {found.old:.4f} old, {found.new:.4f} new, "
            f"{found.gain:+.4f} [{found.low:+.4f}, {found.high:+.4f}] ({found.verdict}); expected at least "
            f"{found.min_gain:+.4f}"
        )
    if report.moved:
        err.print(
            f"{report.alias} leads to {report.new} now; writers waited {report.seconds['blocked']:.1f} s. "
            f"{report.old} is kept for --rollback, and takes no writes"
        )
    else:
        kept = "was removed" if report.removed else "is kept"
        err.print(
            f"the gate refused {report.new}, which {kept}; {report.alias} leads to {report.old} as before"
        )


def _gate(
    index: "OpenSearchIndex", directory: Path, split: str, old_bundle: Path | None, min_gain: float
) -> "Gate":
    from cl_haystack.data import read_beir
    from cl_haystack.opensearch.reembedding.gate import Gate, load_old_encoder

    return Gate(read_beir(directory, split), load_old_encoder(index, old_bundle), min_gain)


def _roll_back(alias: str, url: str | None, *, as_json: bool) -> None:
    from cl_haystack.opensearch import Connection, roll_back

    with closing(Connection(url)) as connection:
        report = roll_back(connection, alias)
    if as_json:
        print_json(report.to_dict())
    else:
        err.print(f"{alias} leads to {report.old} again; {report.new} is kept, and takes no writes")
        if report.differing:
            err.print(
                f"warning: {report.differing:,} documents were written or deleted since the alias had moved, "
                f"which {report.old} does not know: {report.added:,} are not in it, {report.changed:,} are "
                f"older in it, {report.deleted:,} were deleted since. Index them again; until another "
                f"re-embedding {report.new} holds them"
            )


def _make_alias(alias: str, url: str | None, *, as_json: bool) -> None:
    from cl_haystack.opensearch import Connection, make_alias

    with closing(Connection(url)) as connection:
        index = make_alias(connection, alias)
    if as_json:
        print_json({"alias": alias, "index": index})
    else:
        err.print(f"{alias}: an alias now, which leads to {index}")
