"""Which training pairs speak for a decision: those most like a query and a text together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.encoder.vectors import unit_vectors
from cl_haystack.progress import OnProgress, Progress, ignore

_ENCODED_AT_ONCE = 1024  # pairs


@dataclass(frozen=True)
class NearPair:
    """A training pair that is like a query and a text.

    :param anchor: its anchor.
    :param positive: its positive.
    :param to_query: cosine of the query and the anchor.
    :param to_text: cosine of the text and the positive.
    """

    anchor: str
    positive: str
    to_query: float
    to_text: float

    @property
    def similarity(self) -> float:
        """Return the mean of both cosines."""
        return (self.to_query + self.to_text) / 2


def nearest_pairs(
    query: str,
    text: str,
    pairs: Iterable[tuple[str, str]],
    encoder: TextEncoder,
    *,
    top_k: int = 5,
    on_progress: OnProgress = ignore,
) -> tuple[float, list[NearPair]]:
    """Find the training pairs nearest to a query and a text, by the mean of both cosines.

    They show where the model may have its opinion from; nobody can tell what it would think without them.

    :param query: the query of a decision.
    :param text: the text that was found, or was not.
    :param pairs: anchors and positives, passed over once; only the best are held.
    :param encoder: the model that decided.
    :param top_k: how many pairs to return.
    :param on_progress: told the number of pairs encoded.
    :returns: the cosine of query and text, and the pairs, the nearest first.
    """
    asked, found = (
        unit_vectors(encoder.encode_queries([query]))[0],
        unit_vectors(encoder.encode_documents([text]))[0],
    )
    best: list[NearPair] = []
    done = 0
    for some in _chunks(pairs):
        to_query = unit_vectors(encoder.encode_queries([anchor for anchor, _ in some])) @ asked  # (pairs,)
        to_text = (
            unit_vectors(encoder.encode_documents([positive for _, positive in some])) @ found
        )  # (pairs,)
        order = np.argsort(-(to_query + to_text), kind="stable")[:top_k]
        for place in order.tolist():
            anchor, positive = some[place]
            best.append(NearPair(anchor, positive, float(to_query[place]), float(to_text[place])))
        best = sorted(best, key=lambda pair: -pair.similarity)[:top_k]
        done += len(some)
        on_progress(Progress(done, None, "encoding pairs"))
    return float(asked @ found), best


def _chunks(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    rest = iter(pairs)
    while some := list(islice(rest, _ENCODED_AT_ONCE)):
        yield some
