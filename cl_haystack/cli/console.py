"""What a person sees: bars on standard error, tables and JSON on standard output."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
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

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
"""Plain messages: a path in brackets is no markup, and a line in a log is one line."""

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


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end the block by an exception, exit status 143, so that what it has changed is put back."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def print_json(value: Any) -> None:
    """Print a value as indented JSON on standard output, for programs.

    :param value: plain types and dataclasses.
    """
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


@contextmanager
def _bar(title: str) -> Iterator[OnProgress]:
    # Title and note give way on a narrow terminal; the figures between them stay whole.
    columns = (
        TextColumn("{task.description}", markup=False, table_column=_giving_way(3)),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=_giving_way(2)),
    )
    with RichProgress(*columns, console=err, transient=True, expand=True) as bars:
        task = bars.add_task(title, total=None, note="", rate="")

        def on_progress(progress: Progress) -> None:
            bars.update(task, completed=progress.done, total=progress.total, note=progress.note)
            if speed := bars.tasks[task].speed:
                bars.update(task, rate=_rate(speed))

        yield on_progress


def _giving_way(ratio: int) -> Column:
    return Column(ratio=ratio, no_wrap=True, overflow="ellipsis")


@contextmanager
def _lines(title: str) -> Iterator[OnProgress]:
    """Write where the work stands now and then, even while it stands still: a busy server is waited for."""
    started, ended = time.monotonic(), threading.Event()
    last = Progress(0, None)

    def on_progress(progress: Progress) -> None:
        nonlocal last
        last = progress

    def write() -> None:
        while not ended.wait(_PLAIN_INTERVAL_S):
            err.print(f"{title}: {_plain(last, time.monotonic() - started)}")

    writer = threading.Thread(target=write, name="cl-haystack-progress", daemon=True)
    writer.start()
    try:
        yield on_progress
    finally:
        ended.set()
        writer.join()


def _plain(progress: Progress, elapsed_s: float) -> str:
    rate = progress.done / elapsed_s
    parts = [f"{progress.done:,}" if progress.total is None else f"{progress.done:,} of {progress.total:,}"]
    if progress.done == progress.total:  # what is left is not counted, such as merging an index
        parts.append("finishing")
    elif rate > 0:
        parts.append(_rate(rate))
        if progress.total is not None:
            parts.append(f"{timedelta(seconds=round((progress.total - progress.done) / rate))} left")
    return ", ".join([*parts, progress.note] if progress.note else parts)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"
