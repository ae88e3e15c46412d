"""``cl-haystack pairs split | sample``: parts of a file of pairs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cl_haystack.cli.console import err, print_json, progress_bar
from cl_haystack.cli.pairs.making import AsJson, refuse_one_file_twice
from cl_haystack.progress import counted

_USUAL_SIZES = (50, 100, 300, 1_000)

Pairs = Annotated[Path, typer.Argument(metavar="PAIRS.jsonl", help="Training pairs.")]


class Group(StrEnum):
    """What must not be in both parts."""

    document = "document"
    query = "query"
    topic = "topic"
    source = "source"
    time = "time"


def split(
    pairs: Pairs,
    train: Annotated[Path, typer.Option(metavar="TRAIN.jsonl", help="Pairs to train on.")],
    held_out: Annotated[Path, typer.Option(metavar="TEST.jsonl", help="Pairs to measure with.")],
    by: Annotated[
        Group, typer.Option(help="What must not be in both files; time: the newest are held out.")
    ] = Group.document,
    fraction: Annotated[
        float, typer.Option(help="Expected share of held-out groups, or of the newest pairs.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Split pairs so that what is measured with was not trained on.

    Pairs that share a text or document with the held-out part without being in it are in neither file, and
    counted.

    [bold]Examples[/bold]

    cl-haystack pairs split pairs.jsonl --train train.jsonl --held-out test.jsonl --fraction 0.1

    cl-haystack pairs split pairs.jsonl --train past.jsonl --held-out recent.jsonl --by time
    """
    from cl_haystack.data.splitting import split_file

    refuse_one_file_twice(pairs, train, held_out)
    name = f"split by {by.value}" + (f", seed {seed}" if by is not Group.time else "")
    with progress_bar("splitting") as on_progress:
        counts = split_file(
            pairs,
            train=train,
            held_out=held_out,
            by=by.value,
            fraction=fraction,
            seed=seed,
            on_progress=on_progress,
        )
    _carry_datasheet(pairs, train, name, counts["train"])
    _carry_datasheet(pairs, held_out, name, counts["held_out"])
    if as_json:
        print_json(counts)
        return
    err.print(
        f"{train}: {counts['train']:,} pairs; {held_out}: {counts['held_out']:,} pairs; in neither, because "
        f"they share a text or document with {held_out}: {counts['neither']:,}",
    )


def sample(
    pairs: Pairs,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Folder for SIZE.jsonl.")],
    size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Pairs of a subset; repeatable (default: 50, 100, 300, 1000)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other pairs.")] = 0,
) -> None:
    """Draw subsets for a learning curve, each within all larger ones.

    [bold]Examples[/bold]

    cl-haystack pairs sample pairs.jsonl -o few

    cl-haystack pairs sample pairs.jsonl --size 500 --size 5000 -o few
    """
    from cl_haystack.data import read_pairs, write_pairs
    from cl_haystack.data.splitting import nested_subsets
    from cl_haystack.errors import DataError

    sizes = size or _USUAL_SIZES
    refuse_one_file_twice(pairs, *(out / f"{wanted}.jsonl" for wanted in set(sizes)))
    with progress_bar("drawing") as on_progress:
        subsets = nested_subsets(counted(read_pairs(pairs), on_progress), sizes, seed=seed)
    if not size:
        subsets = {wanted: part for wanted, part in subsets.items() if len(part) == wanted}
    if not subsets:
        raise DataError(f"holds fewer than {min(sizes)} pairs; name sizes with --size", path=pairs)
    for wanted, part in subsets.items():
        path = out / f"{wanted}.jsonl"
        count = write_pairs(part, path)
        _carry_datasheet(pairs, path, f"sample of {wanted}, seed {seed}", count)
        err.print(f"{path}: {count:,} pairs")


def _carry_datasheet(pairs: Path, part: Path, name: str, count: int) -> None:
    from cl_haystack.data.datasheet import Step, carry_datasheet

    carry_datasheet(pairs, part, num_pairs=count, step=Step(name=name, counts={"pairs": count}))
