"""The parts of a report, as plain data: whoever measured decides what is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cl_haystack.evaluation.pair_metrics import PrecisionRecall
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
    :param on: the queries or pairs on which they are compared.
    """

    system: str
    baseline: str
    comparison: Comparison
    on: str = "all queries"


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

    :param rank: its place, from 1; None where it was not found.
    :param title: title, or the beginning of the text where there is none.
    :param excerpt: beginning of the text.
    :param relevant: the judgements say so.
    """

    rank: int | None
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
class CurvePoint:
    """One training set size of a learning curve.

    :param num_pairs: training pairs; 0 is the base model.
    :param value: the metric and its interval.
    """

    num_pairs: int
    value: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDistribution:
    """How similar a model finds texts that belong together, and texts that do not.

    :param system: name of the model.
    :param groups: similarities by kind of pair, at most three kinds, the matching one first.
    :param threshold: a similarity to mark; None marks none.
    """

    system: str
    groups: Mapping[str, Sequence[float]]
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMap:
    """Vectors of queries and documents in two dimensions.

    :param system: name of the model.
    :param queries: ``(queries, 2)``.
    :param documents: ``(documents, 2)``.
    :param links: row of a query and row of a document relevant to it.
    :param explained: share of the vectors' variance that the two dimensions hold.
    """

    system: str
    queries: NDArray[np.float32]
    documents: NDArray[np.float32]
    links: Sequence[tuple[int, int]]
    explained: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HardNegative:
    """A document that a system prefers to the relevant ones.

    :param question: the query's text.
    :param negative: the document, at its rank.
    :param relevant: the best relevant one; its rank is None where it was not found.
    :param margin: score of the negative minus score of the relevant one; None where that was not found.
    """

    question: str
    negative: RankedDocument
    relevant: RankedDocument | None
    margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One export of a model: how good, how fast, how large.

    :param label: its name.
    :param quality: the primary metric.
    :param latency_ms: median time to encode one query.
    :param num_bytes: size of the graph; None for a checkpoint.
    """

    label: str
    quality: Interval
    latency_ms: float
    num_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairExample:
    """Two texts, what people say of them, and what each model says.

    :param anchor: the one text.
    :param positive: the other.
    :param truth: the judgement, in words.
    :param scores: similarity by model, before first.
    :param note: why it is shown.
    """

    anchor: str
    positive: str
    truth: str
    scores: Mapping[str, float]
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
    :param curve: the metric by number of training pairs.
    :param gains: the plot of gains by query.
    :param distributions: scores of matching and other pairs, by system.
    :param precision_recall: what recall costs, by system, the one that the report is about last.
    :param maps: vectors in two dimensions, by system.
    :param variants: exports of the model, for the trade-off.
    :param examples: questions with their results.
    :param pair_examples: pairs with their scores.
    :param hard_negatives: what the system prefers to relevant documents.
    :param oddities: what was left out of the data, or is strange in it.
    :param steps: what was done, and how long it took.
    :param datasheet: what the models were trained on, by model and field.
    :param provenance: where the figures come from, by name.
    """

    title: str
    summary: str = ""
    conclusion: str = ""
    verdict: Verdict | None = None
    primary_metric: str = "ndcg@10"
    systems: Sequence[SystemRow] = ()
    comparisons: Sequence[ComparisonRow] = ()
    curve: Sequence[CurvePoint] = ()
    gains: Gains | None = None
    distributions: Sequence[ScoreDistribution] = ()
    precision_recall: Sequence[tuple[str, PrecisionRecall]] = ()
    maps: Sequence[TextMap] = ()
    variants: Sequence[Variant] = ()
    examples: Sequence[Example] = ()
    pair_examples: Sequence[PairExample] = ()
    hard_negatives: Sequence[HardNegative] = ()
    oddities: Sequence[str] = ()
    steps: Sequence[Step] = ()
    datasheet: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
