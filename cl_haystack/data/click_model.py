"""What clicks say of documents once it is known how likely each position is looked at.

A result is clicked when it is looked at and found attractive. How likely a position is looked at is the same
for all queries, how attractive a document is for a query the same at all positions; so documents that were
seen at several positions tell the two apart. Both are estimated in turns (expectation maximization) until
they settle.

Source: the position-based model of Craswell et al. 2008 (WSDM), with the steps of Chuklin, Markov and de
Rijke 2015, "Click Models for Web Search", chapter 4.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 200
_SETTLED = 1e-5
_PRIOR_CLICKS, _PRIOR_MISSES = 0.5, 1.5  # two looks at an unknown document, a click in every fourth

Counts = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class PositionBasedModel:
    """How likely a position is looked at, and a document is clicked when it is.

    :param examination: by position, from 0; the first one's is 1, ``(positions,)``.
    :param attractiveness: by query and document, 0 to 1, ``(items,)``.
    :param looks: how often each was looked at, as far as can be told, ``(items,)``.
    """

    examination: Counts
    attractiveness: Counts
    looks: Counts


def fit_click_model(items: Ids, positions: Ids, shown: Counts, clicked: Counts) -> PositionBasedModel:
    """Estimate the model from counts, one row for each item and position.

    :param items: number of query and document, from 0, ``(rows,)``.
    :param positions: where it was shown, from 0, ``(rows,)``.
    :param shown: how often it was shown there, shares of a look included, ``(rows,)``.
    :param clicked: how often it was clicked there, ``(rows,)``.
    :returns: the model.
    """
    num_items, num_positions = int(items.max()) + 1, int(positions.max()) + 1
    shown_at = np.bincount(positions, shown, num_positions)
    shown_of = np.bincount(items, shown, num_items)
    examination = 1 / np.arange(1, num_positions + 1) ** 0.5
    attractiveness = np.full(num_items, 0.25)
    missed = shown - clicked
    for _ in range(_ROUNDS):
        look, like = examination[positions], attractiveness[items]  # (rows,)
        no_click = np.maximum(1 - look * like, 1e-12)
        looked = clicked + missed * look * (1 - like) / no_click
        liked = clicked + missed * (1 - look) * like / no_click
        before = examination
        examination = np.bincount(positions, looked, num_positions) / np.maximum(shown_at, 1e-12)
        examination = np.clip(examination / max(examination[0], 1e-12), 1e-4, 1)
        prior = _PRIOR_CLICKS + _PRIOR_MISSES
        attractiveness = (np.bincount(items, liked, num_items) + _PRIOR_CLICKS) / (shown_of + prior)
        if np.abs(examination - before).max() < _SETTLED:
            break
    looks = np.asarray(np.bincount(items, shown * examination[positions], num_items), dtype=np.float64)
    return PositionBasedModel(examination, attractiveness, looks)
