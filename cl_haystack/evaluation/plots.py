"""The plots of a report, as SVG that lies in the page and takes its colours and its font from there.

matplotlib draws with stand-in colours; they become CSS variables, so one drawing serves light, dark and
print.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cl_haystack.errors import MissingExtraError
from cl_haystack.evaluation.significance import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _LINE, _ACCENT, _QUIET, _GOOD, _BAD = (f"#0000{number:02x}" for number in range(1, 8))
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _LINE: "--line",
    _ACCENT: "--accent",
    _QUIET: "--quiet",
    _GOOD: "--good",
    _BAD: "--bad",
}
_WIDTH_IN = 9.0
_NAME_CHARS = 26
_NAME_LINES = 3
_LINE_POINTS = 11
_SETTINGS: Any = {
    "text.parse_math": False,  # a $ in a name is a dollar
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _INK,
}


def require_matplotlib() -> None:
    """Raise now what drawing would raise later.

    :raises MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None


def bar_chart(names: Sequence[str], values: Sequence[Interval], *, highlight: int | None = None) -> str:
    """Draw one horizontal bar a system, with its interval as a whisker and its value beside it.

    :param names: names of the systems.
    :param values: their means and intervals, at least 0.
    :param highlight: position of the system that the report is about.
    :returns: an ``<svg>`` element.
    :raises MissingExtraError: matplotlib is not installed.
    """
    wrapped = [_wrap(name) for name in names]
    row_lines = max([2, *(len(lines) for lines in wrapped)])
    with _drawing(height_in=0.45 + 0.2 * row_lines * len(names)) as figure:
        axes = figure.subplots()
        rows = np.arange(len(names))
        means = [value.mean for value in values]
        colours = [_ACCENT if row == highlight else _QUIET for row in rows]
        axes.barh(rows, means, height=0.62, color=colours)
        below = [value.mean - value.low for value in values]
        above = [value.high - value.mean for value in values]
        axes.errorbar(means, rows, xerr=[below, above], fmt="none", ecolor=_INK, elinewidth=1, capsize=2.5)
        end = max([value.high for value in values], default=0.0) or 1.0
        for row, value in zip(rows, values, strict=True):
            axes.text(
                value.high + 0.02 * end, float(row), f"{value.mean:.3f}", va="center", fontweight="bold"
            )
        axes.set_yticks(rows, [""] * len(names))
        for place, lines in enumerate(wrapped):
            _name_row(axes, place, lines)
        axes.set_xlim(0, 1.12 * end)
        axes.invert_yaxis()
        _calm(axes, grid="x")
        axes.spines["left"].set_visible(True)
        return _svg(figure, salt="bars")


def gain_chart(differences: Sequence[float]) -> str:
    """Draw the difference on each query, sorted: what was gained on the left, what was lost on the right.

    :param differences: one difference a query.
    :returns: an ``<svg>`` element.
    :raises MissingExtraError: matplotlib is not installed.
    """
    ordered = np.sort(np.asarray(differences, dtype=np.float64))[::-1]  # (queries,)
    edges = np.arange(len(ordered) + 1)
    with _drawing(height_in=2.3) as figure:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        axes.stairs(np.maximum(ordered, 0), edges, fill=True, color=_GOOD)
        axes.stairs(np.minimum(ordered, 0), edges, fill=True, color=_BAD)
        axes.axhline(0, color=_MUTED, linewidth=0.8)
        axes.set_xlim(0, len(ordered))
        reach = max(0.05, 1.08 * float(np.abs(ordered).max(initial=0)))
        axes.set_ylim(-reach, reach)
        axes.set_xlabel("queries, from the largest gain to the largest loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(
            MaxNLocator(nbins=5, steps=[1, 2, 5, 10])
        )  # 0.25 would be printed as 0.2
        axes.yaxis.set_major_formatter(lambda value, _position: _signed(value))
        _calm(axes, grid="y")
        return _svg(figure, salt="gains")


@contextmanager
def _drawing(height_in: float) -> Iterator["Figure"]:
    """Open a figure under our settings; matplotlib's global ones stay as they were."""
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # Only matplotlib's own font lacks them, and the page's font is used.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")


def _calm(axes: "Axes", *, grid: Literal["x", "y"]) -> None:
    axes.spines[:].set_visible(False)
    axes.grid(axis=grid, color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _wrap(name: str) -> list[str]:
    return textwrap.wrap(name, _NAME_CHARS, max_lines=_NAME_LINES, placeholder=" …") or ["unnamed"]


def _name_row(axes: "Axes", row: int, lines: Sequence[str]) -> None:
    """Write a name before its bar, line by line: each ends there in whatever font the page has."""
    for number, line in enumerate(lines):
        below = ((len(lines) - 1) / 2 - number) * _LINE_POINTS
        axes.annotate(line, (0, row), (-5, below), textcoords="offset points", ha="right", va="center")


def _svg(figure: "Figure", *, salt: str) -> str:
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):  # keeps the ids of two plots on one page apart
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would apply to the whole page
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| id="[a-z0-9]+(\.[a-z]+)?_\d+"', "", svg).replace(
        "xlink:href", "href"
    )
    svg = re.sub(r' width="[^"]*pt" height="[^"]*pt"', "", svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg.strip()
