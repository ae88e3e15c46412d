"""``cl-haystack pairs split | sample``: parts of a file of pairs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_haystack.cli.console import err, print_json
from cl_haystack.cli.pairs.making import AsJson, refuse_one_file_twice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cl_haystack.data import Pair

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
    from cl_haystack.data import read_pairs
    from cl_haystack.data.splitting import split_pairs

    refuse_one_file_twice(pairs, train, held_out)
    name = f"split by {by.value}" + (f", seed {seed}" if by is not Group.time else "")
    parts = split_pairs(list(read_pairs(pairs)), by=by.value, fraction=fraction, seed=seed)
    for part, path in zip(parts[:2], (train, held_out), strict=True):
        _write(pairs, part, path, name)
    counts = {"train": len(parts[0]), "held_out": len(parts[1]), "neither": parts[2]}
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
        typer.Option(min=1, help="Pairs of a subset; repeatable; without it, 50, 100, 300, 1,000 and all."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other pairs.")] = 0,
) -> None:
    """Draw subsets for a learning curve, each within all larger ones.

    [bold]Examples[/bold]

    cl-haystack pairs sample pairs.jsonl -o few

    cl-haystack pairs sample pairs.jsonl --size 500 --size 5000 -o few
    """
    from cl_haystack.data import read_pairs
    from cl_haystack.data.splitting import nested_subsets

    every = list(read_pairs(pairs))
    sizes = size or [usual for usual in _USUAL_SIZES if usual < len(every)] + [len(every)]
    refuse_one_file_twice(pairs, *(out / f"{wanted}.jsonl" for wanted in set(sizes)))
    for wanted, part in nested_subsets(every, sizes, seed=seed).items():
        path = out / f"{wanted}.jsonl"
        _write(pairs, part, path, f"sample of {wanted}, seed {seed}")
        err.print(f"{path}: {len(part):,} pairs")


def _write(pairs: Path, part: "Sequence[Pair]", path: Path, name: str) -> None:
    from cl_haystack.data import write_pairs
    from cl_haystack.data.datasheet import Step, carry_datasheet

    count = write_pairs(part, path)
    carry_datasheet(pairs, path, num_pairs=count, step=Step(name=name, counts={"pairs": count}))
