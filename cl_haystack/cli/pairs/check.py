"""``cl-haystack pairs check``: what would spoil training in a file of pairs, and the pairs without it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.table import Table
from rich.text import Text

from cl_haystack.cli.console import err, print_json, progress_bar
from cl_haystack.cli.console import out as console
from cl_haystack.cli.pairs.making import refuse_one_file_twice

if TYPE_CHECKING:
    from cl_haystack.data.curation import CheckReport, Kind
    from cl_haystack.encoder import TextEncoder

_EXAMPLE_CHARS = 90


def check(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS.jsonl", help="Training pairs; .csv, .tsv and .parquet too.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="CLEAN.jsonl", help="The pairs that are left.")],
    dropped: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Every line that is not, with the reasons (default: CLEAN.dropped.jsonl).",
        ),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--eval", metavar="BEIRDIR", help="Evaluation data that must not be trained on."),
    ] = None,
    eval_split: Annotated[str, typer.Option(help="Which of its judgements: qrels/SPLIT.tsv.")] = "test",
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE|CHECKPOINT",
            help="Also ask a model for false positives and negatives, wrong labels and pairs in other words; "
            "takes far longer.",
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="Find texts in another language than this, such as en."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Also drop lines for this; may be repeated.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Do not drop lines for this; may be repeated.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="REPORT.json", help="Write counts and examples there too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts and examples as JSON.")] = False,
) -> None:
    """Find duplicates, leaks, contradictions and false negatives, and write the pairs without them.

    Dropped is what is certain: lines that are no pair, repeated pairs (small edits aside), labels that
    contradict each other, evaluation queries, and negatives that are positives. The rest is counted and
    shown, and dropped with --drop. Every line is in one of the two files.

    [bold]Examples[/bold]

    cl-haystack pairs check pairs.jsonl -o clean.jsonl

    cl-haystack pairs check pairs.jsonl -o clean.jsonl --eval scifact --drop similar-to-eval

    cl-haystack pairs check pairs.csv -o clean.jsonl --bundle bundle --language en --report report.json
    """
    from cl_haystack.cli.models import open_model, was_trained_on
    from cl_haystack.data import read_beir, write_beside
    from cl_haystack.data.curation import DROPPED, SAME_MEANING, check_pairs
    from cl_haystack.data.datasheet import Step, carry_datasheet

    dropped = dropped or out.with_name(f"{out.stem}.dropped.jsonl")
    refuse_one_file_twice(pairs, out, dropped, *([] if report is None else [report]))
    wanted = (DROPPED | _kinds(drop, "--drop")) - _kinds(keep, "--keep")
    encoder = None if bundle is None else open_model(bundle)[0]
    same_meaning = SAME_MEANING if encoder is None else _same_meaning(encoder)
    if encoder is not None and was_trained_on(encoder, pairs):
        err.print(
            f"WARNING: {bundle} was trained on these pairs, and believes what is wrong in them: ask its base "
            "model, or one that was trained on other pairs.",
            style="bold",
        )
    task = None if evaluation is None else read_beir(evaluation, eval_split)
    with progress_bar("checking") as on_progress:
        found = check_pairs(
            pairs,
            out,
            dropped=dropped,
            drop=wanted,
            task=task,
            encoder=encoder,
            same_meaning_from=same_meaning,
            language=language,
            on_progress=on_progress,
        )
    step = Step(name="check", counts={"lines": found.lines, "kept": found.kept, **found.dropped_for})
    carry_datasheet(pairs, out, num_pairs=found.kept, step=step)
    if report is not None:
        with write_beside(report) as file:
            file.write(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
    if as_json:
        print_json(asdict(found))
    else:
        _tell(found, out)


def _same_meaning(encoder: "TextEncoder") -> float:
    """Return the bundle's own threshold for duplicates, where it was calibrated."""
    from cl_haystack.data.curation import SAME_MEANING
    from cl_haystack.encoder import Encoder

    thresholds = (
        encoder.bundle.manifest.calibration.get("thresholds", {}) if isinstance(encoder, Encoder) else {}
    )
    return thresholds["duplicate"].score if "duplicate" in thresholds else SAME_MEANING


def _kinds(names: list[str] | None, option: str) -> "frozenset[Kind]":
    from cl_haystack.data.curation import Kind

    known = [kind.value for kind in Kind]
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(
                f"{name!r} is unknown; expected one of {', '.join(known)}", param_hint=option
            )
    return frozenset(map(Kind, names or ()))


def _tell(report: "CheckReport", out: Path) -> None:
    from cl_haystack.data.curation import DESCRIPTIONS, Kind

    table = Table(box=None, pad_edge=False)
    for header in ("found", "lines", "", "what it is, and the first lines of it"):
        table.add_column(header, justify="right" if header == "lines" else "left", overflow="fold")
    for name, count in report.found.items():
        what = Text(DESCRIPTIONS[Kind(name)])
        for example in report.examples[name][:2]:
            what.append(f"\n{_example_line(example.line, example.other_line, example.detail)}", style="dim")
            what.append(f" {_short(example.anchor)}", style="dim")
        fate = "dropped" if name in report.drops else ""
        if name == Kind.KNOWN_POSITIVE and fate:
            fate = "removed"
        table.add_row(name, f"{count:,}", fate, what)
    console.print(table if report.found else "nothing was found")
    if report.evaluation:
        facts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.evaluation.items())
        err.print(f"evaluation data: {facts}")
    for note in report.notes:
        err.print(note)
    err.print(
        f"{out}: {report.kept:,} of {report.lines:,} lines; {report.dropped:,} dropped, "
        f"{report.repaired:,} kept without false negatives",
    )


def _example_line(line: int, other: int | None, detail: str) -> str:
    facts = ", ".join(filter(None, [f"as line {other:,}" if other is not None else "", detail]))
    return f"line {line:,}{f' ({facts})' if facts else ''}:"


def _short(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARS else f"{text[: _EXAMPLE_CHARS - 1]}…"
