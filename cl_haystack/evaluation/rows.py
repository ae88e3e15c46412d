"""From results to what people read: rows of the tables, the gains by query, the conclusion in a sentence."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from cl_haystack.evaluation.metrics import metric_name
from cl_haystack.evaluation.parts import ComparisonRow, CurvePoint, Gains, SystemRow
from cl_haystack.evaluation.report import p_value, points
from cl_haystack.evaluation.retrieval import RetrievalResult
from cl_haystack.evaluation.seeds import mean_over_seeds
from cl_haystack.evaluation.significance import compare, mean_interval, metric_values, paired_bootstrap

PRIMARY_METRIC = "ndcg@10"


def system_row(
    result: RetrievalResult, metrics: Sequence[str], *, intervals: bool = True, highlight: bool = False
) -> SystemRow:
    """Make a system's row.

    :param result: its evaluation.
    :param metrics: which metrics to show.
    :param intervals: compute bootstrap intervals; needs scipy and two queries.
    :param highlight: this is the system that the report is about.
    :returns: the row.
    :raises MissingExtraError: intervals are wanted and scipy is not installed.
    """
    if intervals:
        values = {name: paired_bootstrap(metric_values(result.per_query, name)) for name in metrics}
        return SystemRow(label=result.label, metrics=values, latency=result.latency, highlight=highlight)
    means = {name: result.metrics[name] for name in metrics}
    return SystemRow(label=result.label, metrics=means, latency=result.latency, highlight=highlight)


def comparison_row(
    result: RetrievalResult,
    baseline: RetrievalResult,
    metric: str = PRIMARY_METRIC,
    *,
    queries: Collection[str] | None = None,
    on: str = "all queries",
) -> ComparisonRow:
    """Compare two systems on the same queries.

    :param result: the one.
    :param baseline: the other.
    :param metric: by what.
    :param queries: some of the queries; None takes all.
    :param on: what these queries have in common.
    :returns: the row.
    :raises DataError: the two were not evaluated on the same queries, or on fewer than two.
    :raises MissingExtraError: scipy is not installed.
    """
    kept = result.per_query if queries is None else {query: result.per_query[query] for query in queries}
    others = (
        baseline.per_query if queries is None else {query: baseline.per_query[query] for query in queries}
    )
    comparison = compare(kept, others, metric)
    return ComparisonRow(system=result.label, baseline=baseline.label, comparison=comparison, on=on)


def gains(result: RetrievalResult, baseline: RetrievalResult, metric: str = PRIMARY_METRIC) -> Gains:
    """Collect the differences by query, for the plot.

    :param result: the one system.
    :param baseline: the other, evaluated on the same queries.
    :param metric: by what.
    :returns: one difference a query.
    """
    differences = [
        values[metric] - baseline.per_query[query][metric] for query, values in result.per_query.items()
    ]
    return Gains(system=result.label, baseline=baseline.label, metric=metric, differences=differences)


def learning_curve(results: Sequence[tuple[int, RetrievalResult]], metric: str) -> list[CurvePoint]:
    """Put results into the order of their training sets.

    :param results: number of training pairs, 0 for the base model, and the evaluation after it; of
        several with one number, the seeds of a training, the mean is shown.
    :param metric: what to show.
    :returns: one point a number of pairs, with its interval where there are two queries or more.
    :raises DataError: seeds were not evaluated on the same queries.
    :raises MissingExtraError: scipy is not installed.
    """
    by_size = defaultdict(list)
    for num_pairs, result in results:
        by_size[num_pairs].append(result)
    return [
        CurvePoint(
            num_pairs=num_pairs,
            value=mean_interval(metric_values(mean_over_seeds(seeds).per_query, metric)),
        )
        for num_pairs, seeds in sorted(by_size.items())
    ]


def conclude(row: ComparisonRow) -> str:
    """Say in a sentence what a comparison found.

    :param row: the comparison.
    :returns: one sentence with the means, the difference, its interval and its p-value.
    """
    comparison = row.comparison
    low, high = points(comparison.difference.low), points(comparison.difference.high)
    figures = (
        f"{metric_name(comparison.metric)} {comparison.baseline_mean:.3f} → {comparison.mean:.3f}, "
        f"{points(comparison.difference.mean)} points with a 95 % interval from {low} to {high}, "
        f"{p_value(comparison.p_value)}"
    )
    if comparison.verdict == "not distinguishable":
        subject = f"{row.system} cannot be distinguished from {row.baseline}"
        return f"{subject} on these {comparison.num_queries:,} {comparison.unit}: {figures}."
    return f"{row.system} is {comparison.verdict} than {row.baseline}: {figures}."


def conclude_part(row: ComparisonRow) -> str:
    """Say briefly what a comparison on a part, or on another task, found.

    :param row: the comparison.
    :returns: a line without the systems' names.
    """
    found = row.comparison
    low, high = points(found.difference.low), points(found.difference.high)
    return (
        f"{row.on} ({found.num_queries:,} {found.unit}): {found.verdict}, {metric_name(found.metric)} "
        f"{found.baseline_mean:.3f} → {found.mean:.3f}, {points(found.difference.mean)} points "
        f"[{low}, {high}], {p_value(found.p_value)}"
    )
