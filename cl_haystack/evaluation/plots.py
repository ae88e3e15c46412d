"""The plots of a report."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cl_haystack.evaluation.drawing import (
    ACCENT,
    BAD,
    GOOD,
    INK,
    MUTED,
    QUIET,
    calm,
    drawing,
    to_svg,
)
from cl_haystack.evaluation.pair_metrics import PrecisionRecall
from cl_haystack.evaluation.parts import CurvePoint, ScoreDistribution, TextMap, Variant
from cl_haystack.evaluation.significance import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAME_CHARS = 26
_NAME_LINES = 3
_LINE_POINTS = 11
_SHORT_CHARS = 44  # two maps stand side by side, three names in one line of a legend
_GROUP_COLOURS = (ACCENT, BAD, MUTED)
_NUM_BINS = 40


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
    with drawing(height_in=0.45 + 0.2 * row_lines * len(names)) as figure:
        axes = figure.subplots()
        rows = np.arange(len(names))
        means = [value.mean for value in values]
        colours = [ACCENT if row == highlight else QUIET for row in rows]
        axes.barh(rows, means, height=0.62, color=colours)
        below = [value.mean - value.low for value in values]
        above = [value.high - value.mean for value in values]
        axes.errorbar(means, rows, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=1, capsize=2.5)
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
        calm(axes, grid="x")
        axes.spines["left"].set_visible(True)
        return to_svg(figure, salt="bars")


def gain_chart(differences: Sequence[float]) -> str:
    """Draw the difference on each query, sorted: what was gained on the left, what was lost on the right.

    :param differences: one difference a query.
    :returns: an ``<svg>`` element.
    :raises MissingExtraError: matplotlib is not installed.
    """
    ordered = np.sort(np.asarray(differences, dtype=np.float64))[::-1]  # (queries,)
    edges = np.arange(len(ordered) + 1)
    with drawing(height_in=2.3) as figure:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        axes.stairs(np.maximum(ordered, 0), edges, fill=True, color=GOOD)
        axes.stairs(np.minimum(ordered, 0), edges, fill=True, color=BAD)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xlim(0, len(ordered))
        reach = max(0.05, 1.08 * float(np.abs(ordered).max(initial=0)))
        axes.set_ylim(-reach, reach)
        axes.set_xlabel("queries, from the largest gain to the largest loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(
            MaxNLocator(nbins=5, steps=[1, 2, 5, 10])
        )  # 0.25 would be printed as 0.2
        axes.yaxis.set_major_formatter(lambda value, _position: _signed(value))
        calm(axes, grid="y")
        return to_svg(figure, salt="gains")


def curve_chart(points: Sequence[CurvePoint]) -> str:
    """Draw a metric by the number of training pairs, with its interval; the base model as a level line.

    :param points: in the order of their size.
    :returns: an ``<svg>`` element.
    :raises MissingExtraError: matplotlib is not installed.
    """
    with drawing(height_in=2.6) as figure:
        axes = figure.subplots()
        places = np.arange(len(points))
        means = np.array([point.value.mean for point in points])
        below = means - [point.value.low for point in points]
        above = [point.value.high for point in points] - means
        if points[0].num_pairs == 0:
            axes.axhline(means[0], color=QUIET, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.errorbar(
            places,
            means,
            yerr=[below, above],
            color=ACCENT,
            marker="o",
            ecolor=INK,
            elinewidth=1,
            capsize=2.5,
        )
        for place, mean in zip(places, means, strict=True):
            axes.annotate(
                f"{mean:.3f}", (float(place), mean), (7, 4), textcoords="offset points", fontweight="bold"
            )
        axes.set_xticks(places, [f"{point.num_pairs:,}" for point in points])
        axes.set_xlim(-0.3, len(points) - 0.5)
        axes.set_xlabel("training pairs")
        calm(axes, grid="y")
        return to_svg(figure, salt="curve")


def distribution_chart(distributions: Sequence[ScoreDistribution]) -> str:
    """Draw how the scores of matching and of other pairs are spread, one row a system.

    :param distributions: one a system; all on the same scale.
    :returns: an ``<svg>`` element.
    :raises MissingExtraError: matplotlib is not installed.
    """
    values = np.concatenate([np.asarray(group) for d in distributions for group in d.groups.values()])
    edges = np.linspace(values.min(), max(values.max(), values.min() + 1e-3), _NUM_BINS + 1)
    with drawing(height_in=0.6 + 1.5 * len(distributions)) as figure:
        rows = figure.subplots(len(distributions), 1, sharex=True, squeeze=False)[:, 0]
        for axes, distribution in zip(rows, distributions, strict=True):
            for colour, (name, scores) in zip(_GROUP_COLOURS, distribution.groups.items(), strict=False):
                heights, _ = np.histogram(scores, edges)
                share = heights / max(1, len(scores))
                axes.stairs(share, edges, fill=True, color=colour, alpha=0.25)
                axes.stairs(share, edges, color=colour, linewidth=1.4, label=_short(name))
            if distribution.threshold is not None:
                axes.axvline(distribution.threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.set_title(_short(distribution.system), loc="left", fontsize=9, color=INK, fontweight="bold")
            axes.set_yticks([])
            calm(axes, grid="x")
        handles, labels = rows[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside upper left", ncols=3, labelcolor=INK)
        rows[-1].set_xlabel("similarity")
        return to_svg(figure, salt="distributions")


def map_chart(maps: Sequence[TextMap]) -> str:
    """Draw queries and documents as points, with a line from each query to what answers it.

    :param maps: one or two systems, side by side.
    :returns: an ``<svg>`` element.
    :raises MissingExtraError: matplotlib is not installed.
    """
    with drawing(height_in=4.4) as figure:
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, found in zip(panels, maps, strict=True):
            for query, document in found.links:
                x, y = zip(found.queries[query], found.documents[document], strict=True)
                axes.plot(x, y, color=ACCENT, linewidth=0.5, alpha=0.45, zorder=1)
            axes.scatter(
                *found.documents.T, s=9, color=MUTED, alpha=0.6, linewidths=0, label="documents", zorder=2
            )
            axes.scatter(*found.queries.T, s=13, color=ACCENT, linewidths=0, label="questions", zorder=3)
            axes.set_title(_short(found.system), loc="left", fontsize=9, color=INK, fontweight="bold")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_aspect("equal", adjustable="datalim")
            calm(axes, grid="both")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside upper left", ncols=2, labelcolor=INK)
        return to_svg(figure, salt="maps")


def tradeoff_chart(variants: Sequence[Variant], metric: str) -> str:
    """Draw quality against the time that a query takes, one point a variant.

    :param variants: the exports.
    :param metric: name of the quality, for people.
    :returns: an ``<svg>`` element.
    :raises MissingExtraError: matplotlib is not installed.
    """
    with drawing(height_in=2.8) as figure:
        axes = figure.subplots()
        right = 1.35 * max(variant.latency_ms for variant in variants)
        for variant in variants:
            value = variant.quality
            whisker = [[value.mean - value.low], [value.high - value.mean]]
            place = variant.latency_ms, value.mean
            axes.errorbar(
                *place, yerr=whisker, fmt="o", color=ACCENT, ecolor=QUIET, elinewidth=1.2, capsize=3
            )
            label = "\n".join(_wrap(variant.label))
            # Below the point where a better one's name would lie over this one's.
            is_under = any(
                other.quality.mean > value.mean and abs(other.latency_ms - variant.latency_ms) < right / 4
                for other in variants
            )
            offset, side = (-5, "top") if is_under else (5, "bottom")
            axes.annotate(label, place, (7, offset), textcoords="offset points", va=side, fontsize=8.5)
        axes.set_xlim(0, right)
        axes.margins(y=0.2)
        axes.set_xlabel("milliseconds to encode one query")
        axes.set_ylabel(metric)
        calm(axes, grid="both")
        return to_svg(figure, salt="tradeoff")


def precision_recall_chart(curves: Sequence[tuple[str, PrecisionRecall]]) -> str:
    """Draw the precision that each recall costs, one line a model.

    :param curves: name and curve of each model, the one that the report is about last.
    :returns: an ``<svg>`` element.
    :raises MissingExtraError: matplotlib is not installed.
    """
    with drawing(height_in=2.8) as figure:
        axes = figure.subplots()
        for number, (name, curve) in enumerate(curves, start=1):
            colour = ACCENT if number == len(curves) else MUTED
            axes.step(
                curve.recall, curve.precision, where="pre", color=colour, linewidth=1.6, label=_short(name)
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.legend(frameon=False, loc="lower left", labelcolor=INK)
        calm(axes, grid="both")
        return to_svg(figure, salt="precision-recall")


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _short(name: str) -> str:
    return name if len(name) <= _SHORT_CHARS else name[: _SHORT_CHARS - 1] + "…"


def _wrap(name: str) -> list[str]:
    return textwrap.wrap(name, _NAME_CHARS, max_lines=_NAME_LINES, placeholder=" …") or ["unnamed"]


def _name_row(axes: "Axes", row: int, lines: Sequence[str]) -> None:
    """Write a name before its bar, line by line: each ends there in whatever font the page has."""
    for number, line in enumerate(lines):
        below = ((len(lines) - 1) / 2 - number) * _LINE_POINTS
        axes.annotate(line, (0, row), (-5, below), textcoords="offset points", ha="right", va="center")
