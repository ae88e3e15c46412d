"""Training pairs out of a click log: what people chose, once the position where they saw it is allowed for.

1. Equal queries are taken together, and a model tells how often each document was looked at. All looks of one
   person at a document count as one, and so do all clicks on it.
2. A document is a positive where several people clicked it, and significantly more often, by the looks it
   got, than documents are on average, and half as often as the query's best or more.
3. A document is a hard negative where people passed over it on their way to a click below, several times, and
   it is clicked significantly less than each positive of the query.

Sources: clicks over expected clicks, Zhang and Jones 2007 (WWW, "Comparing click logs and editorial labels
for training query rewriting"); skipping above, Joachims et al. 2005 (SIGIR, "Accurately interpreting
clickthrough data as implicit feedback").
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from cl_haystack.data.click_model import PositionBasedModel, fit_click_model
from cl_haystack.data.normalization import normalized
from cl_haystack.data.records import Pair
from cl_haystack.data.ubi import Impression
from cl_haystack.errors import ConfigurationError, DataError

_Z = NormalDist().inv_cdf(0.998)  # one-sided: ten results a query are ten chances to be wrong
_SHARE_OF_BEST = 0.5
_POSITION_BITS = 16


@dataclass
class ClickReport:
    """What became of the documents of a click log.

    :param queries: different queries, case and white space aside.
    :param shown: pairs of a query and a document that was shown for it.
    :param too_few_clicks: of these, clicked by fewer people than wanted.
    :param not_above_average: clicked by enough, but not significantly more than documents are on average, or
        less than half as often as the query's best.
    :param without_text: chosen, but no text is known for them.
    :param pairs: pairs made.
    :param negatives: negatives given to them.
    :param seen_at_several: share of what was shown that was shown at several positions: without such, what is
        good and what is only on top cannot be told apart.
    :param examination: how likely each position is looked at, relative to the first.
    """

    queries: int = 0
    shown: int = 0
    too_few_clicks: int = 0
    not_above_average: int = 0
    without_text: int = 0
    pairs: int = 0
    negatives: int = 0
    seen_at_several: float = 0.0
    examination: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True)
class ClickedDocuments:
    """What a click log says, before texts are known.

    :param positives: ids of the documents to make pairs of, the most attractive first, by query.
    :param negatives: ids of the documents passed over, the most often first, by query.
    """

    positives: Mapping[str, Sequence[str]]
    negatives: Mapping[str, Sequence[str]]

    @property
    def documents(self) -> set[str]:
        """Ids of all documents whose text is wanted."""
        lists = (*self.positives.values(), *(self.negatives[query] for query in self.positives))
        return {document for ids in lists for document in ids}


def judge_clicks(
    impressions: Sequence[Impression],
    report: ClickReport,
    *,
    min_clicks: int = 3,
    min_skips: int = 3,
    num_negatives: int = 3,
) -> ClickedDocuments:
    """Find out which documents people chose, and which they passed over.

    :param impressions: a log; see :func:`~cl_haystack.data.ubi.read_impressions`.
    :param report: where the figures go.
    :param min_clicks: people who must have clicked a positive; each counts once.
    :param min_skips: people who must have passed over a negative; each counts once.
    :param num_negatives: most negatives of a query.
    :returns: ids by query.
    :raises DataError: nothing was shown.
    :raises ConfigurationError: a number is out of its range.
    """
    if min_clicks < 1 or min_skips < 1 or num_negatives < 0:
        problem = f"found min_clicks {min_clicks}, min_skips {min_skips}, num_negatives {num_negatives}"
        raise ConfigurationError(f"{problem}; expected 1, 1 and 0 or more")
    if not impressions:
        raise DataError("the log holds no query with results that counts; check fields and time range")
    seen = _Seen(impressions)
    model = seen.fit()
    average = float((model.attractiveness * model.looks).sum() / model.looks.sum())
    report.queries, report.shown = len(seen.queries), len(seen.items)
    report.seen_at_several = seen.seen_at_several()
    report.examination = [round(float(value), 4) for value in model.examination]
    positives: dict[str, list[tuple[float, str]]] = defaultdict(list)
    skipped: dict[str, list[tuple[int, str, float]]] = defaultdict(list)
    lowest: dict[str, float] = {}
    for (query, document), item in seen.items.items():
        low, high = _interval(seen.clicks[item] / max(model.looks[item], 1e-9), model.looks[item])
        num_clickers, num_skippers = (len(by.get(item, ())) for by in (seen.clickers, seen.skippers))
        if num_clickers >= min_clicks and low > average:
            positives[query].append((-float(model.attractiveness[item]), document))
            lowest[query] = min(low, lowest.get(query, 1.0))
            continue
        if num_clickers < min_clicks:
            report.too_few_clicks += 1
        else:
            report.not_above_average += 1
        if num_skippers >= min_skips:
            skipped[query].append((-num_skippers, document, high))
    for query, found in positives.items():
        good = [entry for entry in found if entry[0] <= _SHARE_OF_BEST * min(found)[0]]  # below 0, both
        report.not_above_average += len(found) - len(good)
        positives[query] = good
    negatives = {
        query: [document for _, document, high in sorted(skipped[query]) if high < lowest[query]]
        for query in positives
    }
    return ClickedDocuments(
        positives={seen.queries[query]: [d for _, d in sorted(found)] for query, found in positives.items()},
        negatives={seen.queries[query]: found[:num_negatives] for query, found in negatives.items()},
    )


def pairs_from_clicks(
    chosen: ClickedDocuments, texts: Mapping[str, str], report: ClickReport
) -> Iterable[Pair]:
    """Make pairs of what people chose.

    :param chosen: ids by query.
    :param texts: text by document id.
    :param report: where the counts go.
    :yields: a pair for each query and positive, with the query's negatives.
    """
    for query, positives in chosen.positives.items():
        negatives = tuple(texts[name] for name in chosen.negatives[query] if texts.get(name, "").strip())
        for name in positives:
            text = texts.get(name, "")
            if not text.strip():
                report.without_text += 1
                continue
            report.pairs += 1
            report.negatives += len(negatives)
            yield Pair(anchor=query, positive=text, negatives=negatives, source="clicks", document_id=name)


class _Seen:
    """Counts of a log: what was shown where, and who clicked or passed over it. 14 bytes a result shown."""

    def __init__(self, impressions: Sequence[Impression]) -> None:
        self.queries: dict[str, str] = {}
        """A query as most people wrote it first, by its normalized form."""
        self.items: dict[tuple[str, str], int] = {}
        self.clickers: dict[int, set[str]] = defaultdict(set)
        self.skippers: dict[int, set[str]] = defaultdict(set)
        # One entry for each result of each impression: how much that look counts, and that as a click.
        item, position, share, clicked = array("I"), array("H"), array("f"), array("f")
        for query, seen_by_one in self._by_query_and_client(impressions):
            looks = Counter(name for impression in seen_by_one for name in impression.documents)
            for impression in seen_by_one:
                item.extend(self._note(query, impression))
                position.extend(range(len(impression.documents)))
                share.extend(1 / looks[name] for name in impression.documents)
                clicked.extend(
                    (place in impression.clicked) / looks[name]
                    for place, name in enumerate(impression.documents)
                )
        self.clicks = np.bincount(np.asarray(item), np.asarray(clicked))  # (items,)
        keys = np.asarray(item).astype(np.int64) << _POSITION_BITS | np.asarray(position)
        places, rows = np.unique(keys, return_inverse=True)  # (item and position,), (results shown,)
        self._items, self._positions = places >> _POSITION_BITS, places & ((1 << _POSITION_BITS) - 1)
        self._shown = np.bincount(rows, np.asarray(share)).astype(np.float64)
        self._clicked = np.bincount(rows, np.asarray(clicked)).astype(np.float64)

    def fit(self) -> PositionBasedModel:
        return fit_click_model(self._items, self._positions, self._shown, self._clicked)

    def seen_at_several(self) -> float:
        return float((np.unique(self._items, return_counts=True)[1] > 1).mean())

    def _by_query_and_client(
        self, impressions: Sequence[Impression]
    ) -> Iterator[tuple[str, Sequence[Impression]]]:
        by_client: dict[tuple[str, str], list[Impression]] = defaultdict(list)
        for impression in impressions:
            query = normalized(impression.query)
            self.queries.setdefault(query, " ".join(impression.query.split()))
            by_client[query, impression.client].append(impression)
        for (query, _), seen_by_one in by_client.items():
            yield query, seen_by_one

    def _note(self, query: str, impression: Impression) -> Iterator[int]:
        """Note who clicked or passed over what, and return the number of each result."""
        lowest = max(impression.clicked, default=-1)
        for position, document in enumerate(impression.documents):
            item = self.items.setdefault((query, document), len(self.items))
            if position in impression.clicked:
                self.clickers[item].add(impression.client)
            elif position < lowest:
                self.skippers[item].add(impression.client)
            yield item


def _interval(share: float, count: float) -> tuple[float, float]:
    """Return the 99.6 % interval of a share, or of more clicks than looks: Wilson 1927."""
    share, count = min(share, 1.0), max(count, 1e-9)
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * (share * (1 - share) / count + _Z**2 / (4 * count**2)) ** 0.5
    return middle - half, middle + half
