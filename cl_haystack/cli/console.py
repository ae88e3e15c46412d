"""What a person sees: bars on standard error, tables and JSON on standard output."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column

from cl_haystack.progress import OnProgress, Progress

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_PLAIN_INTERVAL_S = 60.0


@contextmanager
def progress_bar(title: str) -> Iterator[OnProgress]:
    """Draw the progress of the block; without a terminal, write a line now and then.

    :param title: what is going on, in a few words.
    :yields: the callback to hand to the work.
    """
    draw = _bar if err.is_terminal else _lines
    with draw(title) as on_progress:
        yield on_progress


def print_json(value: Any) -> None:
    """Print a value as indented JSON on standard output, for programs.

    :param value: plain types and dataclasses.
    """
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


@contextmanager
def _bar(title: str) -> Iterator[OnProgress]:
    # Title and note give way on a narrow terminal; the figures between them stay whole.
    columns = (
        TextColumn("{task.description}", table_column=Column(ratio=3, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn(
            "[dim]{task.fields[note]}", table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis")
        ),
    )
    with RichProgress(*columns, console=err, transient=True, expand=True) as bars:
        task = bars.add_task(title, total=None, note="")

        def on_progress(progress: Progress) -> None:
            bars.update(task, completed=progress.done, total=progress.total, note=progress.note)

        yield on_progress


@contextmanager
def _lines(title: str) -> Iterator[OnProgress]:
    yield _every(_PLAIN_INTERVAL_S, lambda p: err.print(f"{title}: {_plain(p)}"))


def _every(interval_s: float, report: Callable[[Progress], None]) -> OnProgress:
    last = time.monotonic()

    def on_progress(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= interval_s:
            last = time.monotonic()
            report(progress)

    return on_progress


def _plain(progress: Progress) -> str:
    total = "" if progress.total is None else f" of {progress.total:,}"
    return f"{progress.done:,}{total}" + (f", {progress.note}" if progress.note else "")
