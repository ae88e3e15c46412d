"""Choose how words and vectors are fused, on judged queries, and keep it in the index.

For each fusion and depth the server is asked once for what it gives to words alone and once to vectors alone;
every pair of weights is then a sum of the two. It is the server that scales scores, ranks and cuts, because
how it does so depends on its version and on the shards. Choose on queries that nothing else was fitted to: a
model that was trained on them makes vectors look better than they are, and the weights with them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
)
from cl_haystack.opensearch.searching import SearchableIndex
from cl_haystack.progress import OnProgress, Progress, ignore

WEIGHT_STEPS = 20  # steps of 0.05: finer ones differ by less than the queries can tell
DEPTHS = (15, 30, 50, 100)
FUSIONS: tuple[Fusion, ...] = ("min_max", "rrf")
_CHUNK = 64  # queries asked at a time

Qrels = Mapping[str, Mapping[str, int]]
Scores = dict[str, float]
Judged = dict[str, dict[str, float]]
Ask = Callable[[HybridSettings], Mapping[str, Scores]]
"""``ask(settings)``: the server's scores of all candidates, best first, by query."""


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
    :param on_progress: told how often queries were asked.
    :returns: the best settings and their comparison with the defaults.
    :raises DataError: there are fewer than two judged queries.
    :raises ConfigurationError: there is no such metric.
    """
    cut_off = _cut_off(metric)
    judged_alone = {query_id: qrels[query_id] for query_id in queries}
    server = ServerCapabilities.ask(index.connection.client(), index.connection.url)
    weighted_rrf = server.version is None or server.version >= WEIGHTED_RRF_SINCE
    scored: list[tuple[HybridSettings, float]] = []
    baseline: Judged = {}
    chosen: Judged = {}
    best: tuple[HybridSettings, float] | None = None
    times = len(DEPTHS) * (5 if weighted_rrf else 3)  # two for min_max, three or one for rrf
    ask = _asking(index, encoder, queries, on_progress, times=times)
    for settings, scores in _trials(ask, weighted_rrf=weighted_rrf):
        run = {query_id: _first(found, cut_off) for query_id, found in scores}
        judged = per_query(judged_alone, run, (cut_off,))
        scored.append((settings, _mean(judged, metric)))
        if settings == DEFAULT:
            baseline = judged
        if best is None or _preference(scored[-1]) > _preference(best):
            best, chosen = scored[-1], judged
    assert best is not None
    comparison = compare(chosen, baseline, metric)
    tuned = Tuned(
        dataset=dataset,
        queries=len(queries),
        metric=metric,
        value=round(best[1], 4),
        before=round(comparison.baseline_mean, 4),
    )
    return TuningReport(best[0].model_copy(update={"tuned": tuned}), comparison, _best_of_each_kind(scored))


def _asking(
    index: SearchableIndex,
    encoder: TextEncoder,
    queries: Mapping[str, str],
    on_progress: OnProgress,
    *,
    times: int,
) -> Ask:
    """Return what asks the server for all queries; it will be called so many times."""
    waiting = iter(queries.items())
    chunks = []
    while chunk := dict(islice(waiting, _CHUNK)):
        chunks.append((chunk, encoder.encode_queries(list(chunk.values()))))
    done = 0

    def ask(settings: HybridSettings) -> dict[str, Scores]:
        nonlocal done
        answers: dict[str, Scores] = {}
        for chunk, vectors in chunks:
            found = index.fused_scores(list(chunk.values()), vectors, settings)
            answers |= zip(chunk, found, strict=True)
            done += len(chunk)
            note = f"{settings.fusion}, depth {settings.pagination_depth}"
            on_progress(Progress(done, times * len(queries), note=note))
        return answers

    return ask


def _trials(ask: Ask, *, weighted_rrf: bool) -> Iterator[tuple[HybridSettings, Iterable[tuple[str, Scores]]]]:
    """Yield settings, and for each query the scores of all candidates with them."""
    shares = [step / WEIGHT_STEPS for step in range(WEIGHT_STEPS + 1)]
    for fusion, depth in product(FUSIONS, DEPTHS):
        of = {
            share: HybridSettings(weights=(share, round(1 - share, 6)), fusion=fusion, pagination_depth=depth)
            for share in shares
        }
        if fusion == "rrf":  # equal weights are none; many scores are equal then, and the server orders them
            equal = of.pop(0.5)
            yield equal, ask(equal).items()
            if not weighted_rrf:
                continue
        words, vectors = ask(of[1.0]), ask(of[0.0])
        for settings in of.values():
            yield settings, ((each, _weigh(settings, words[each], vectors[each])) for each in words)


def _weigh(settings: HybridSettings, words: Scores, vectors: Scores) -> Scores:
    weights = settings.weights
    return {
        document_id: weights[0] * words.get(document_id, 0.0) + weights[1] * vectors.get(document_id, 0.0)
        for document_id in words | vectors
    }


def _first(scores: Scores, count: int) -> Scores:
    return dict(sorted(scores.items(), key=lambda entry: -entry[1])[:count])  # equal ones stay in their order


def _cut_off(metric: str) -> int:
    name, _, cut_off = metric.partition("@")
    if name in METRICS and cut_off.isdecimal() and int(cut_off) > 0:
        return int(cut_off)
    raise ConfigurationError(
        f"metric is {quote(metric)}, expected one of {', '.join(METRICS)} with a cut-off, such as ndcg@10"
    )


def _mean(judged: Mapping[str, Mapping[str, float]], metric: str) -> float:
    return sum(values[metric] for values in judged.values()) / len(judged)


def _preference(entry: tuple[HybridSettings, float]) -> tuple[float, float]:
    return entry[1], -_distance(entry[0])


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
