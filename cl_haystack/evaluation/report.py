"""The report: one HTML page of what was measured, complete in itself and readable without scripts.

:class:`~cl_haystack.evaluation.parts.Report` is plain data; :func:`write_report` turns it into a page. Texts
are escaped; the page loads nothing and follows the reader's light or dark setting.
"""

from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from cl_haystack.data import write_beside
from cl_haystack.evaluation.drawing import require_matplotlib
from cl_haystack.evaluation.metrics import metric_name
from cl_haystack.evaluation.pair_metrics import f1_threshold
from cl_haystack.evaluation.parts import Report, ScoreDistribution
from cl_haystack.evaluation.plots import (
    bar_chart,
    curve_chart,
    distribution_chart,
    gain_chart,
    map_chart,
    precision_recall_chart,
    tradeoff_chart,
)
from cl_haystack.evaluation.significance import Interval

_BIDI_CONTROLS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def write_report(path: str | Path, report: Report) -> None:
    """Write a report as one self-contained HTML page.

    :param path: the file; replaced only when all is written.
    :param report: what to tell.
    :raises MissingExtraError: matplotlib is not installed.
    :raises DataError: the file cannot be written.
    """
    page = render_report(report)
    with write_beside(Path(path)) as file:
        file.write(page.encode("utf-8", "replace"))


def render_report(report: Report) -> str:
    """Return the page that :func:`write_report` writes.

    :param report: what to tell.
    :returns: an HTML document.
    :raises MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cl_haystack.evaluation", "."),
        autoescape=True,
        finalize=_without_bidi_controls,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "metric_name": metric_name,
        "interval": _interval,
        "points": points,
        "p_value": p_value,
        "spread": _spread,
        "f1_threshold": f1_threshold,
    }
    metrics = list(dict.fromkeys(name for system in report.systems for name in system.metrics))
    return environment.get_template("report.html.jinja").render(
        report=report,
        metrics=metrics,
        any_latency=any(system.latency for system in report.systems),
        drawings=_drawings(report),
        total_seconds=sum(step.seconds for step in report.steps),
    )


def _drawings(report: Report) -> dict[str, Markup]:
    """Draw each plot that there are data for; they are ours, and matplotlib escapes the names in them."""
    metric = metric_name(report.primary_metric)
    drawn: dict[str, str] = {}
    rows = [system for system in report.systems if report.primary_metric in system.metrics]
    if rows:
        highlight = next((number for number, system in enumerate(rows) if system.highlight), None)
        values = [_interval(system.metrics[report.primary_metric]) for system in rows]
        drawn["bars"] = bar_chart([system.label for system in rows], values, highlight=highlight)
    if report.curve:
        drawn["curve"] = curve_chart(report.curve)
    if report.gains:
        drawn["gains"] = gain_chart(report.gains.differences)
    if report.distributions:
        drawn["distributions"] = distribution_chart(report.distributions)
    if report.precision_recall:
        drawn["precision_recall"] = precision_recall_chart(report.precision_recall)
    if report.maps:
        drawn["maps"] = map_chart(report.maps)
    if report.variants:
        drawn["tradeoff"] = tradeoff_chart(report.variants, metric)
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704


def points(value: float) -> str:
    """Return a difference in points, hundredths of a metric: 0.0551 is +5.5.

    :param value: the difference.
    :returns: one decimal, always with a sign, except for zero; minus is the typographic one.
    """
    rounded = round(100 * value, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"


def p_value(value: float) -> str:
    """Return a p-value for people, such as ``p = 0.03`` or ``p < 0.001``.

    :param value: the p-value.
    :returns: two significant digits, nothing below a thousandth.
    """
    return f"p = {value:.2g}" if value >= 0.001 else "p < 0.001"


def _without_bidi_controls(value: object) -> object:
    """Take the characters out of a text that would turn round what stands after it."""
    return (
        value.translate(_BIDI_CONTROLS) if isinstance(value, str) and not isinstance(value, Markup) else value
    )


def _interval(value: Interval | float) -> Interval:
    return value if isinstance(value, Interval) else Interval(value, value, value)


def _spread(distribution: ScoreDistribution) -> list[tuple[str, int, list[float]]]:
    """Return name, size, and 5 %, median and 95 % of each group of scores: the plot in figures."""
    return [
        (name, len(scores), np.percentile(scores, [5, 50, 95]).tolist())
        for name, scores in distribution.groups.items()
        if len(scores)
    ]
