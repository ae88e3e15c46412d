"""``cl-haystack bundle``: move a bundle around, as one file or through the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.console import err

app = typer.Typer(
    no_args_is_help=True, help="Pack a bundle into one file; push it to a Hugging Face hub and pull it."
)

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A bundle: its directory or its packed file.")
]
NewBundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Directory to create.")]
RepositoryArgument = Annotated[
    str, typer.Argument(metavar="REPOSITORY", help="Repository on the hub, such as organisation/model.")
]


@app.command(epilog="Example: `cl-haystack bundle pack bundle bundle.zip`")
def pack(
    bundle: BundleArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The packed file to write.")],
) -> None:
    """Write a bundle as one file, the same bytes each time; every command reads it like a directory."""
    from cl_haystack.bundle import ModelBundle

    loaded = ModelBundle.load(bundle)
    written = loaded.pack(file)
    err.print(f"{written}: {loaded.label}, {written.stat().st_size:,} bytes")


@app.command(epilog="Example: `cl-haystack bundle unpack bundle.zip bundle`")
def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A packed bundle.")],
    bundle: NewBundleArgument,
) -> None:
    """Turn a packed file into a directory, verified."""
    from cl_haystack.bundle import ModelBundle

    err.print(f"{bundle}: {ModelBundle.unpack(file, bundle).label}")


@app.command(epilog="Example: `cl-haystack bundle push bundle organisation/model --private`")
def push(
    bundle: BundleArgument,
    repository: RepositoryArgument,
    *,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to (default: main).")] = None,
    private: Annotated[
        bool | None, typer.Option(help="Of a new repository (default: the organisation's).")
    ] = None,
) -> None:
    """Upload a bundle to a hub repository, made where it is missing; prints the commit.

    The token is that of `hf auth login` or HF_TOKEN.
    """
    from cl_haystack.bundle import ModelBundle

    loaded = ModelBundle.load(bundle)
    commit = loaded.push(repository, revision=revision, private=private)
    err.print(f"{repository}: {loaded.label}, commit:")
    print(commit)


@app.command(epilog="Example: `cl-haystack bundle pull organisation/model bundle --revision COMMIT`")
def pull(
    repository: RepositoryArgument,
    bundle: NewBundleArgument,
    *,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit (default: main); a commit stays the same.")
    ] = None,
) -> None:
    """Fetch a bundle from a hub repository and verify it; fetches no other file."""
    from cl_haystack.bundle import ModelBundle

    pulled = ModelBundle.pull(repository, bundle, revision=revision)
    err.print(f"{bundle}: {pulled.label}")
