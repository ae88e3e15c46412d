"""What the lines of a file have to do with each other: repeated, contradictory, alike. Arrays in, arrays out.

Texts are known by their numbers here.
"""

import numpy as np
from numpy.typing import NDArray

from cl_haystack.data.curation.intake import NO_LABEL, Columns
from cl_haystack.data.curation.near_texts import Alike, Ids

NONE = -1
_GRADES_APART = 0.5  # of 0 to 1: the graders of STS-B differ by less
_BOILERPLATE_ANCHORS = 20
_BOILERPLATE_TIMES_MEAN = 10
_DOCUMENT_CHARS = 200
_OUTLIER_DEVIATIONS = 6.0
_OUTLIER_FACTOR = 8.0
_MAD_TO_DEVIATION = 1.4826

Mask = NDArray[np.bool_]


def duplicates(columns: Columns, *, among: Mask) -> Ids:
    """Return for each line the first earlier one with the same texts, and of the same verdict.

    The order of anchor and positive does not matter where a line has a label or score, that of negatives
    never.

    :param columns: the lines.
    :param among: which lines are looked at.
    :returns: the place of the earlier line, or :data:`NONE`, ``(lines,)``.
    """
    keys = _hashed(_keys(columns, swappable=is_judged(columns)))
    keys ^= _hashed(_besides(columns, columns.negatives))
    other = np.full(len(keys), NONE)
    places = np.flatnonzero(among)
    _, first, inverse = np.unique(keys[places], return_index=True, return_inverse=True)
    firsts = places[first[inverse]]
    repeated = firsts != places
    other[places[repeated]] = firsts[repeated]
    return other


def near_duplicates(columns: Columns, alike: Alike, *, among: Mask) -> Ids:
    """Return for each line the first earlier one that says the same of the same texts, small edits aside.

    :param columns: the lines.
    :param alike: which texts are the same.
    :param among: which lines are looked at: no two with the same texts.
    :returns: the place of the earlier line, or :data:`NONE`, ``(lines,)``.
    """
    other = np.full(len(columns.line), NONE)
    edited = alike.texts()
    concerned = among & (np.isin(columns.anchor, edited) | np.isin(columns.positive, edited))
    besides = _besides(columns, alike.leaders[columns.negatives])
    swappable = is_judged(columns)
    first: dict[tuple[int, int, int], int] = {}  # no other line than these can be the same as one of them
    for place in np.flatnonzero(concerned).tolist():
        anchor, positive = int(columns.anchor[place]), int(columns.positive[place])
        rest = int(besides[place])
        keys = [(a, p, rest) for a in alike.of(anchor) for p in alike.of(positive)]
        keys += [(p, a, n) for a, p, n in keys] if swappable[place] else []
        other[place] = min((first[key] for key in keys if key in first), default=NONE)
        first.setdefault((anchor, positive, rest), place)
    return other


def contradictions(columns: Columns, leaders: Ids) -> Ids:
    """Find lines that others with the same texts contradict, by label or score; who has neither says yes.

    What most of them say is believed; where as many say otherwise, nobody is.

    :param columns: the lines.
    :param leaders: number by which each text is known.
    :returns: the place of a line that says otherwise, or :data:`NONE`, ``(lines,)``.
    """
    other = np.full(len(columns.line), NONE)
    keys = _keys(columns, leaders, swappable=columns.is_pair)
    places = np.flatnonzero(columns.is_pair & np.isin(keys, keys[columns.is_pair & is_judged(columns)]))
    keys = keys[places]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    sizes = np.diff(starts, append=len(keys))
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        _contradict(places[order[start : start + size]], columns, other)
    return other


def known_positives(columns: Columns, alike: Alike) -> Mask:
    """Tell which negatives are a positive of their anchor, here or on another line, small edits aside.

    :param columns: the lines.
    :param alike: which texts are the same.
    :returns: ``(negatives,)``.
    """
    positive = columns.is_pair & (columns.label != 0) & ~(columns.score < _GRADES_APART)
    known = _mix(columns.anchor[positive], columns.positive[positive])
    anchors = columns.anchor[columns.negatives_of]
    result: Mask = np.isin(_mix(anchors, columns.negatives), known)
    edited = alike.texts()
    positive &= np.isin(columns.anchor, edited) | np.isin(columns.positive, edited)
    pairs = set(zip(columns.anchor[positive].tolist(), columns.positive[positive].tolist(), strict=True))
    for place in np.flatnonzero(~result & (np.isin(anchors, edited) | np.isin(columns.negatives, edited))):
        anchor, negative = int(anchors[place]), int(columns.negatives[place])
        result[place] = any((a, n) in pairs for a in alike.of(anchor) for n in alike.of(negative))
    return result


def boilerplate(columns: Columns, leaders: Ids, *, among: Mask) -> Mask:
    """Tell which lines have a positive that 20 anchors or more share, and ten times as many as usual.

    :param columns: the lines.
    :param leaders: number by which each text is known.
    :param among: which lines count.
    :returns: ``(lines,)``.
    """
    result = np.zeros(len(columns.line), dtype=bool)
    pairs = np.unique(np.stack([leaders[columns.positive[among]], leaders[columns.anchor[among]]]), axis=1)
    if not pairs.shape[1]:
        return result
    positives, num_anchors = np.unique(pairs[0], return_counts=True)
    limit = max(_BOILERPLATE_ANCHORS, _BOILERPLATE_TIMES_MEAN * float(num_anchors.mean()))
    result[among] = np.isin(leaders[columns.positive[among]], positives[num_anchors >= limit])
    return result


def similar_documents(columns: Columns, leaders: Ids, num_chars: Ids, *, among: Mask) -> Ids:
    """Find lines whose positive is that of an earlier line but for small edits, and not the same text.

    Questions and titles are often alike, and are left out.

    :param columns: the lines.
    :param leaders: number by which each text is known.
    :param num_chars: length by number of the text.
    :param among: which lines are looked at.
    :returns: the place of the earlier line, or :data:`NONE`, ``(lines,)``.
    """
    places = np.flatnonzero(among)
    places = places[num_chars[columns.positive[places]] >= _DOCUMENT_CHARS]
    texts = columns.positive[places]
    _, classes = np.unique(leaders[texts], return_inverse=True)
    lowest = np.full(len(texts), np.iinfo(np.int64).max)
    np.minimum.at(lowest, classes, texts)
    representatives = lowest[classes]  # (places,)
    edited = np.flatnonzero(representatives != texts)
    known, first = np.unique(texts, return_index=True)
    other = np.full(len(columns.line), NONE)
    other[places[edited]] = places[first[np.searchsorted(known, representatives[edited])]]
    return other


def odd_lengths(ids: Ids, num_chars: Ids) -> Mask:
    """Tell which texts are far shorter or longer than nearly all: 6 deviations in logarithms, and eightfold.

    :param ids: numbers of the texts of one column.
    :param num_chars: length by number.
    :returns: ``(texts,)``.
    """
    if not len(ids):
        return np.zeros(0, dtype=bool)
    lengths = np.log(np.maximum(num_chars[ids], 1))
    distance = np.abs(lengths - np.median(lengths))
    limit = _OUTLIER_DEVIATIONS * _MAD_TO_DEVIATION * float(np.median(distance))
    result: Mask = distance > max(limit, np.log(_OUTLIER_FACTOR))
    return result


def _contradict(group: Ids, columns: Columns, other: Ids) -> None:
    grades = columns.grade[group]
    for grade in np.unique(grades):
        apart = np.abs(grades - grade) > _GRADES_APART
        if apart.sum() * 2 >= len(group):
            other[group[grades == grade]] = group[apart][0]


def is_judged(columns: Columns) -> Mask:
    """Tell which lines have a label or a score, ``(lines,)``."""
    result: Mask = (columns.label != NO_LABEL) | ~np.isnan(columns.score)
    return result


def _keys(columns: Columns, leaders: Ids | None = None, *, swappable: Mask) -> NDArray[np.uint64]:
    """Return a number for each line that is the same for the same texts (else with chance 2^-64 a pair)."""
    anchor, positive = columns.anchor, columns.positive
    if leaders is not None:
        anchor, positive = leaders[anchor], leaders[positive]
    swap = swappable & (anchor > positive)
    return _mix(np.where(swap, positive, anchor), np.where(swap, anchor, positive))


def _besides(columns: Columns, negatives: Ids) -> NDArray[np.uint64]:
    """Return a number for each line that is the same for the same verdict and negatives, in any order."""
    sums = columns.verdict.astype(np.uint64)
    np.add.at(sums, columns.negatives_of, _hashed(negatives.astype(np.uint64)))
    return sums


def _mix(one: Ids, other: Ids) -> NDArray[np.uint64]:
    return _hashed(one.astype(np.uint64) << np.uint64(32) ^ other.astype(np.uint64))


def _hashed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread numbers over 64 bits: the finalizer of SplitMix64 (Steele et al. 2014, OOPSLA)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
