"""What ``cl-haystack evaluate`` prints: tables for people, plain types for programs."""

import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from cl_haystack.cli.console import out

if TYPE_CHECKING:
    from cl_haystack.evaluation.parts import ComparisonRow, SystemRow


def print_figures(
    rows: "Sequence[SystemRow]",
    comparisons: "Sequence[ComparisonRow]",
    metrics: Sequence[str],
    oddities: Sequence[str],
) -> None:
    """Print the systems' metrics, what their comparison says, and what to know of the data."""
    from cl_haystack.evaluation.rows import conclude, conclude_part

    _print_systems(rows, metrics)
    for number, comparison in enumerate(comparisons):
        out.print(escape(conclude_part(comparison) if number else conclude(comparison)))
    for row in rows:
        if row.latency is not None:
            took = row.latency
            out.print(
                f"one query: median {took.p50_ms:.1f} ms, 95 % below {took.p95_ms:.1f} ms, "
                f"99 % below {took.p99_ms:.1f} ms"
            )
    for oddity in oddities:
        out.print(f"[dim]note: {escape(oddity)}[/dim]")


def _print_systems(rows: "Sequence[SystemRow]", metrics: Sequence[str]) -> None:
    from cl_haystack.evaluation import Interval
    from cl_haystack.evaluation.metrics import metric_name

    table = Table(box=None, pad_edge=False)
    table.add_column("system", overflow="fold")
    for name in metrics:
        table.add_column(metric_name(name), justify="right", no_wrap=True)
    for row in rows:
        cells = [
            f"{value.mean:.4f}\n[dim]{value.low:.3f}..{value.high:.3f}[/dim]"
            if isinstance(value, Interval)
            else f"{value:.4f}"
            for value in row.metrics.values()
        ]
        table.add_row(escape(row.label), *cells)
    out.print(table)


def intervals_json(row: "SystemRow") -> dict[str, dict[str, float]]:
    """Return the intervals of a row by metric."""
    from cl_haystack.evaluation import Interval

    return {
        name: {"low": value.low, "high": value.high}
        for name, value in row.metrics.items()
        if isinstance(value, Interval)
    }


def comparisons_json(rows: "Sequence[ComparisonRow]") -> list[dict[str, Any]]:
    """Return comparisons with their verdicts."""
    return [
        {"on": row.on}
        | asdict(row.comparison)
        | {"ties": row.comparison.ties, "verdict": row.comparison.verdict}
        for row in rows
    ]


def circumstances(data: Path) -> dict[str, str]:
    """Say how and when this was measured."""
    from cl_haystack import __version__

    return {
        "data": str(data),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "made with": f"cl-haystack {__version__}, Python {platform.python_version()}",
        "command": shlex.join(["cl-haystack", *sys.argv[1:]]),
    }
