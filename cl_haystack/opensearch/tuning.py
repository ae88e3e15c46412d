"""Choose how words and vectors are fused, on judged queries, and keep it in the index.

Both legs are asked once, at the greatest depth; every setting is then computed from their answers, which is
what the server would compute. Choose on queries that nothing else was fitted to: a model that was trained on
them makes vectors look better than they are, and the weights with them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, product
from typing import Any

from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.errors import ConfigurationError, quote
from cl_haystack.evaluation.metrics import METRICS, per_query
from cl_haystack.evaluation.significance import Comparison, compare
from cl_haystack.opensearch.capabilities import ServerCapabilities
from cl_haystack.opensearch.fusion import (
    DEFAULT,
    WEIGHTED_RRF_SINCE,
    Fusion,
    HybridSettings,
    Tuned,
    fuse,
)
from cl_haystack.opensearch.searching import SearchableIndex
from cl_haystack.progress import OnProgress, Progress, ignore

WEIGHT_STEPS = 20  # steps of 0.05: finer ones differ by less than the queries can tell
DEPTHS = (30, 50, 100, 200)
FUSIONS: tuple[Fusion, ...] = ("min_max", "rrf")
_CHUNK = 64  # queries asked at a time

Qrels = Mapping[str, Mapping[str, int]]
Legs = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class TuningReport:
    """What was chosen, and how it compares.

    :param settings: the best on these queries.
    :param comparison: with the default settings, on these queries; on others expect somewhat less.
    :param tried: metric of the best weights of each fusion and depth, best first.
    """

    settings: HybridSettings
    comparison: Comparison
    tried: tuple[tuple[HybridSettings, float], ...]

    def plain(self) -> dict[str, Any]:
        """Return plain types, for JSON."""
        return {
            "settings": self.settings.stored(),
            "comparison": asdict(self.comparison),
            "tried": [{**settings.stored(), "value": value} for settings, value in self.tried],
        }


def tune_hybrid(
    index: SearchableIndex,
    encoder: TextEncoder,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    dataset: str,
    metric: str = "ndcg@10",
    on_progress: OnProgress = ignore,
) -> TuningReport:
    """Return the settings that do best on judged queries; nothing is kept yet.

    :param index: the index, which holds the judged documents.
    :param encoder: the encoder of its model.
    :param queries: text by query id.
    :param qrels: grade by query id and document id.
    :param dataset: what the queries are called, for the record.
    :param metric: what is compared, such as ``ndcg@10`` or ``recall@100``.
    :param on_progress: told how many queries were asked and settings tried.
    :returns: the best settings and their comparison with the defaults.
    :raises DataError: there are fewer than two judged queries.
    :raises ConfigurationError: there is no such metric.
    """
    _cut_off(metric)
    server = ServerCapabilities.ask(index.connection.client(), index.connection.url)
    grid = _grid(weighted_rrf=server.version is None or server.version >= WEIGHTED_RRF_SINCE)
    total = len(queries) + len(grid)
    answers = {}
    for query_id, legs in _ask(index, encoder, queries):
        answers[query_id] = legs
        on_progress(Progress(len(answers), total, note="asking"))
    scored: list[tuple[HybridSettings, float]] = []
    for settings in grid:
        scored.append((settings, _mean(_judge(answers, qrels, settings, metric), metric)))
        on_progress(Progress(len(answers) + len(scored), total, note="trying settings"))
    best, value = max(scored, key=lambda entry: (entry[1], -_distance(entry[0])))
    comparison = compare(
        _judge(answers, qrels, best, metric), _judge(answers, qrels, DEFAULT, metric), metric
    )
    tuned = Tuned(
        dataset=dataset,
        queries=len(answers),
        metric=metric,
        value=round(value, 4),
        before=round(comparison.baseline_mean, 4),
    )
    return TuningReport(best.model_copy(update={"tuned": tuned}), comparison, _best_of_each_kind(scored))


def _grid(*, weighted_rrf: bool) -> list[HybridSettings]:
    shares = [step / WEIGHT_STEPS for step in range(WEIGHT_STEPS + 1)]
    return [
        HybridSettings(weights=(share, round(1 - share, 6)), fusion=fusion, pagination_depth=depth)
        for fusion, depth, share in product(FUSIONS, DEPTHS, shares)
        if weighted_rrf or fusion != "rrf" or share == 0.5  # equal weights are none
    ]


def _ask(
    index: SearchableIndex, encoder: TextEncoder, queries: Mapping[str, str]
) -> Iterator[tuple[str, Legs]]:
    waiting = iter(queries.items())
    while chunk := list(islice(waiting, _CHUNK)):
        texts = [text for _, text in chunk]
        options: dict[str, Any] = {"top_k": max(DEPTHS), "with_content": False}
        words = index.search_many(queries=texts, **options)
        vectors = index.search_many(query_embeddings=encoder.encode_queries(texts), **options)
        for (query_id, _), *legs in zip(chunk, words, vectors, strict=True):
            yield query_id, [{hit.id: hit.score or 0.0 for hit in hits} for hits in legs]


def _judge(
    answers: Mapping[str, Legs], qrels: Qrels, settings: HybridSettings, metric: str
) -> dict[str, dict[str, float]]:
    cut_off = _cut_off(metric)
    run = {}
    for query_id, legs in answers.items():
        fused = fuse([dict(islice(leg.items(), settings.pagination_depth)) for leg in legs], settings)
        run[query_id] = dict(islice(fused.items(), cut_off))
    return per_query({query_id: qrels[query_id] for query_id in answers}, run, (cut_off,))


def _cut_off(metric: str) -> int:
    name, _, cut_off = metric.partition("@")
    if name in METRICS and cut_off.isdecimal() and int(cut_off) > 0:
        return int(cut_off)
    raise ConfigurationError(
        f"metric is {quote(metric)}, expected one of {', '.join(METRICS)} with a cut-off, such as ndcg@10"
    )


def _mean(judged: Mapping[str, Mapping[str, float]], metric: str) -> float:
    return sum(values[metric] for values in judged.values()) / len(judged)


def _distance(settings: HybridSettings) -> float:
    """Return how far settings are from the defaults, which win where others are not better."""
    other_kind = settings.fusion != DEFAULT.fusion
    deeper = settings.pagination_depth / DEFAULT.pagination_depth
    return abs(settings.weights[0] - DEFAULT.weights[0]) + other_kind + 0.01 * deeper


def _best_of_each_kind(
    scored: Sequence[tuple[HybridSettings, float]],
) -> tuple[tuple[HybridSettings, float], ...]:
    best: dict[tuple[str, int], tuple[HybridSettings, float]] = {}
    for settings, value in scored:
        kind = (settings.fusion, settings.pagination_depth)
        if kind not in best or value > best[kind][1]:
            best[kind] = (settings, value)
    return tuple(sorted(best.values(), key=lambda entry: -entry[1]))
