"""The report: one HTML page of what was measured, complete in itself and readable without scripts.

:class:`Report` is plain data, so whoever measured decides what is told; :func:`write_report` turns it into a
page. Texts are escaped; the page loads nothing and follows the reader's light or dark setting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup

from cl_haystack.data import write_beside
from cl_haystack.evaluation.metrics import metric_name
from cl_haystack.evaluation.plots import bar_chart, gain_chart, require_matplotlib
from cl_haystack.evaluation.retrieval import Latency
from cl_haystack.evaluation.significance import Comparison, Interval, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRow:
    """One system of the table and the bar chart.

    :param label: its name.
    :param metrics: means, with intervals where there are some, by metric.
    :param latency: how long a query took.
    :param highlight: this is the system that the report is about.
    """

    label: str
    metrics: Mapping[str, Interval | float]
    latency: Latency | None = None
    highlight: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One comparison of two systems.

    :param system: name of the one.
    :param baseline: name of the other.
    :param comparison: the difference between them.
    """

    system: str
    baseline: str
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """What a system gains or loses on each query.

    :param system: name of the one system.
    :param baseline: name of the other.
    :param metric: what is compared.
    :param differences: one difference a query, in any order.
    """

    system: str
    baseline: str
    metric: str
    differences: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedDocument:
    """One line of a result list.

    :param rank: its place, from 1.
    :param title: title, or the beginning of the text where there is none.
    :param excerpt: beginning of the text.
    :param relevant: the judgements say so.
    """

    rank: int
    title: str
    excerpt: str
    relevant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultList:
    """What one system returned for a question.

    :param label: name of the system.
    :param documents: the first results.
    :param first_relevant_rank: place of the first relevant document; None if it was not found at all.
    """

    label: str
    documents: Sequence[RankedDocument]
    first_relevant_rank: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One question and the results of one or two systems, side by side.

    :param question: the query's text.
    :param note: a few words on it, such as ``largest loss``.
    :param results: one list a system, before first.
    """

    question: str
    results: Sequence[ResultList]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the work that led here.

    :param name: what was done.
    :param seconds: how long it took.
    :param reused: the result of an earlier run was taken.
    """

    name: str
    seconds: float
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a page tells; empty parts are left out.

    :param title: heading of the page.
    :param summary: what it is about, in a sentence or two.
    :param conclusion: the answer, in one sentence.
    :param verdict: colours the conclusion; None where nothing is compared.
    :param primary_metric: the metric of the bar chart, a key of each system's metrics.
    :param systems: rows of the table of figures.
    :param comparisons: rows of the table of differences.
    :param gains: the plot of gains by query.
    :param examples: questions with their results.
    :param steps: what was done, and how long it took.
    :param provenance: where the figures come from, by name.
    """

    title: str
    summary: str = ""
    conclusion: str = ""
    verdict: Verdict | None = None
    primary_metric: str = "ndcg@10"
    systems: Sequence[SystemRow] = ()
    comparisons: Sequence[ComparisonRow] = ()
    gains: Gains | None = None
    examples: Sequence[Example] = ()
    steps: Sequence[Step] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


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
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"metric_name": metric_name, "interval": _interval, "points": points}
    metrics = list(dict.fromkeys(name for system in report.systems for name in system.metrics))
    return environment.get_template("report.html.jinja").render(
        report=report,
        metrics=metrics,
        any_latency=any(system.latency for system in report.systems),
        bars=_bars(report),
        gains=Markup(gain_chart(report.gains.differences)) if report.gains else None,  # noqa: S704  (ours)
        total_seconds=sum(step.seconds for step in report.steps),
    )


def points(value: float) -> str:
    """Return a difference in points, hundredths of a metric: 0.0551 is +5.5.

    :param value: the difference.
    :returns: one decimal, always with a sign, except for zero; minus is the typographic one.
    """
    rounded = round(100 * value, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"


def _interval(value: Interval | float) -> Interval:
    return value if isinstance(value, Interval) else Interval(value, value, value)


def _bars(report: Report) -> Markup | None:
    rows = [system for system in report.systems if report.primary_metric in system.metrics]
    if not rows:
        return None
    highlight = next((number for number, system in enumerate(rows) if system.highlight), None)
    values = [_interval(system.metrics[report.primary_metric]) for system in rows]
    return Markup(bar_chart([system.label for system in rows], values, highlight=highlight))  # noqa: S704  (ours)
