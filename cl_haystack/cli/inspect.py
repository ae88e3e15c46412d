"""``cl-haystack inspect``: what a bundle is and where it comes from, after checking it."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cl_haystack.cli.console import out, print_json


def inspect(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Directory of a bundle.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Verify a bundle and print its identity, provenance and parity.

    [bold]Example[/bold]

    cl-haystack inspect bundle
    """
    from cl_haystack.bundle import ModelBundle

    manifest = ModelBundle.load(bundle).manifest
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    training, parity = manifest.training, manifest.parity
    rows = {
        "name": manifest.name,
        "space_id": manifest.space_id,
        "fingerprint": manifest.fingerprint,
        "embedding": (
            f"{manifest.embedding.dimension} dimensions, {manifest.embedding.pooling} pooling, "
            f"{'unit length, ' if manifest.embedding.normalize else ''}{manifest.embedding.similarity}"
        ),
        "text": f"at most {manifest.text.max_length} tokens",
        "query prefix": repr(manifest.text.query_prefix),
        "document prefix": repr(manifest.text.document_prefix),
        "precision": f"{manifest.numerics.precision} ({manifest.numerics.scheme})",
        "parity with torch": (
            "not measured"
            if parity is None
            else f"cosine ≥ {parity.cosine_min:.6f}, top-10 overlap {parity.top10_overlap:.3f}, "
            f"{parity.texts} texts"
        ),
        "base model": training.get("base_model", {}).get("name", "this checkpoint itself"),
        "loss": " ".join(f"{key}={value}" for key, value in training.get("loss", {}).items()) or "none",
        "training data": "\n".join(map(_dataset_line, training.get("datasets", []))) or "none stated",
        "files": "\n".join(f"{name}: {entry.bytes:,} bytes" for name, entry in manifest.files.items()),
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.producer.items()),
    }
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/bold]", str(value))
    out.print(table)


def _dataset_line(dataset: dict[str, Any]) -> str:
    if "sha256" not in dataset:  # pairs that a program made
        return f"{dataset.get('name', 'pairs')} ({dataset.get('num_pairs', 'some')} pairs, no file)"
    licence = dataset["licence"] or "no licence stated"
    return f"{dataset['path']} ({dataset['bytes']:,} bytes, sha256 {dataset['sha256'][:12]}, {licence})"
