"""What a model says of pairs: positives that belong elsewhere, negatives that are answers, wrong labels.

Every text on a line is a judgement: it belongs to the anchor, or it does not. Cosines have no scale of their
own, so of each judgement not the cosine alone is looked at, but where it stands among those of the same two
texts with texts of other lines, which words they share, and whether other lines say the same of texts like
them; which of it counts the file itself tells.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cl_haystack.data.curation.doubts import Doubts, Floats, Mask, doubt, most_doubtful
from cl_haystack.data.curation.intake import NO_LABEL, SURE_GRADES, Columns
from cl_haystack.data.curation.near_texts import Ids, TextTable
from cl_haystack.data.curation.standing import SAMPLE, some_of, standing
from cl_haystack.data.curation.vectors import TextVectors
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.encoder.vectors import unit_vectors

_AT_ONCE = 512  # judgements
_PRECEDENTS = 4096  # judgements that stand for all that say yes
_NEAREST_PRECEDENTS = 3
_CLEARLY_ABOVE = 0.02
_NOBODY_SAID = -1
_MIN_SAID_NO = 20
_TOO_FEW = "labels, positives and negatives: too few to tell which are wrong; 20 of either kind are needed"

Features = NDArray[np.float32]
STANDING = slice(2, 8)
"""Those of the features that tell where a cosine stands, of the anchor and of the text."""


@dataclass(frozen=True)
class Judgements:
    """What a file says of pairs of texts; arrays are ``(judgements,)``.

    :param place: the line; :data:`_NOBODY_SAID` where nobody said it: texts of two lines, which hardly belong
        together.
    :param slot: 0 for the positive, else which negative, from 1.
    :param anchor: number of the anchor's text.
    :param text: number of the other text.
    :param given: 1 where they belong together, else 0.
    """

    place: Ids
    slot: Ids
    anchor: Ids
    text: Ids
    given: Ids


@dataclass(frozen=True)
class Plausibility:
    """What a model says of lines; arrays are ``(lines,)``.

    :param positive: cosine of anchor and positive, NaN where it was not looked at.
    :param negative: cosine of the anchor and the nearest of its negatives, NaN where there is none.
    :param wrong: how likely something is wrong, 0 to 1.
    :param positive_doubted: lines whose positive, or its label or score, is doubted.
    :param negative_doubted: lines with a negative that seems to belong to the anchor.
    :param note: what is to be said of it all.
    """

    positive: Floats
    negative: Floats
    wrong: Floats
    positive_doubted: Mask
    negative_doubted: Mask
    note: str


def judgements_of(columns: Columns) -> Judgements:
    """List what the lines say: positives belong to their anchor unless label or score deny it, negatives not.

    :param columns: the lines.
    :returns: the judgements; where fewer than 20 say no, as many more as lines, of texts of two lines.
    """
    yes = (columns.label == 1) | (columns.score >= SURE_GRADES[1])
    no = (columns.label == 0) | (columns.score <= SURE_GRADES[0])
    silent = (columns.label == NO_LABEL) & np.isnan(columns.score)
    positives = np.flatnonzero(columns.is_pair & (yes | no | silent))
    lines = columns.negatives_of
    negatives = np.flatnonzero(~no[lines])
    first = np.searchsorted(lines, np.arange(len(columns.line)))  # negative of each line
    parts = [
        Judgements(
            positives,
            np.zeros(len(positives), dtype=np.int64),
            columns.anchor[positives],
            columns.positive[positives],
            (~no[positives]).astype(np.int64),
        ),
        Judgements(
            lines[negatives],
            negatives - first[lines[negatives]] + 1,
            columns.anchor[lines[negatives]],
            columns.negatives[negatives],
            np.zeros(len(negatives), dtype=np.int64),
        ),
    ]
    if (parts[0].given == 0).sum() < _MIN_SAID_NO:
        parts.append(_by_chance(parts[0]))
    names = (field.name for field in fields(Judgements))
    return Judgements(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _by_chance(positives: Judgements) -> Judgements:
    """Put each anchor to the positive of another line."""
    order = np.random.default_rng(0).permutation(len(positives.place))
    texts = np.empty(len(order), dtype=np.int64)
    texts[order] = positives.text[np.roll(order, 1)]
    known = set(zip(positives.anchor.tolist(), positives.text.tolist(), strict=True))
    other = np.array(
        [pair not in known for pair in zip(positives.anchor.tolist(), texts.tolist(), strict=True)]
    )
    rows = np.flatnonzero(other) if len(other) else np.empty(0, dtype=np.int64)
    nobody = np.full(len(rows), _NOBODY_SAID)
    zeros = np.zeros(len(rows), dtype=np.int64)
    return Judgements(nobody, zeros, positives.anchor[rows], texts[rows], zeros)


def measure(
    judgements: Judgements, texts: TextTable, anchors: TextVectors, documents: TextVectors
) -> Features:
    """Measure what tells whether two texts belong together.

    :param judgements: the texts.
    :param texts: their words.
    :param anchors: vectors of all anchors.
    :param documents: vectors of all other texts.
    :returns: cosine; the share of the anchor's words that the text has, rare ones counting more; where the
        cosine stands among those of the anchor with other texts, and of the text with other anchors, three
        numbers each (see :func:`_standing`); how near its precedents are (see :func:`_precedence`),
        ``(judgements, 9)``.
    """
    random = np.random.default_rng(0)
    other_ids = some_of(judgements.text, SAMPLE, random)
    asker_ids = some_of(judgements.anchor, SAMPLE, random)
    others, askers = documents.of(other_ids), anchors.of(asker_ids)  # (sample, dim)
    features = np.empty((len(judgements.place), 9), dtype=np.float32)
    for start in range(0, len(features), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        asked, found = anchors.of(judgements.anchor[rows]), documents.of(judgements.text[rows])
        cosines = np.einsum("ij,ij->i", asked, found)  # (rows,)
        features[rows, 0] = cosines
        pairs = zip(judgements.anchor[rows].tolist(), judgements.text[rows].tolist(), strict=True)
        features[rows, 1] = [_shared_words(one, other, texts) for one, other in pairs]
        features[rows, 2:5] = standing(cosines, asked @ others.T, judgements.text[rows, None] == other_ids)
        features[rows, 5:8] = standing(cosines, found @ askers.T, judgements.anchor[rows, None] == asker_ids)
    features[:, 8] = _precedence(judgements, anchors, documents)
    return features


def judge(judgements: Judgements, features: Features, companions: Floats, columns: Columns) -> Plausibility:
    """Find what is hardly right in lines.

    :param judgements: what the lines say.
    :param features: what :func:`measure` gave for it.
    :param companions: how likely each negative is wrong by the positive beside it, ``(judgements,)``.
    :param columns: the lines.
    :returns: what is doubted.
    """
    count = len(columns.line)
    said = judgements.place != _NOBODY_SAID
    place, slot = judgements.place[said], judgements.slot[said]
    cosines = features[said, 0].astype(np.float64)
    positive, negative = np.full(count, np.nan), np.full(count, -np.inf)
    positive[place[slot == 0]] = cosines[slot == 0]
    np.maximum.at(negative, place[slot > 0], cosines[slot > 0])
    found = _wrong_by_line(judgements, features, companions, count)
    lines = np.unique(place)
    wrong, positive_doubted = np.zeros(count), np.zeros(count, dtype=bool)
    negative_doubted = np.zeros(count, dtype=bool)
    if found is not None:
        of_positive, of_negatives = found
        wrong = np.maximum(of_positive, of_negatives)
        named = np.zeros(count, dtype=bool)
        named[lines] = most_doubtful(wrong[lines])
        positive_doubted = named & (of_positive > of_negatives)
        negative_doubted = named & ~positive_doubted
    else:  # too few to learn from: the cosine alone must tell
        negative_doubted = negative >= positive + _CLEARLY_ABOVE
    return Plausibility(
        positive=positive,
        negative=np.where(np.isinf(negative), np.nan, negative),
        wrong=wrong,
        positive_doubted=positive_doubted,
        negative_doubted=negative_doubted,
        note=_note(wrong, positive_doubted | negative_doubted) if found else _TOO_FEW,
    )


def _wrong_by_line(
    judgements: Judgements, features: Features, companions: Floats, count: int
) -> tuple[Floats, Floats] | None:
    """Return how likely the positive of each line is wrong, and how likely a negative is; None if too few.

    Positives are compared with texts put together by chance, or labelled 0; only then negatives with them. A
    search may have chosen negatives for being near, and all at once, hard positives would look wrong.
    """
    first = judgements.slot == 0
    said = judgements.place != _NOBODY_SAID
    known = np.where(said, np.nan, 0.0)
    of_first = doubt(features[first], judgements.given[first], known[first])
    of_positive = np.zeros(count)
    if of_first is not None:
        known[first] = of_first.wrong
        of_positive[judgements.place[first & said]] = of_first.wrong[said[first]]
    judged = ~first | (judgements.given == 1)
    of_others = doubt(features[judged], judgements.given[judged], known[judged])
    if of_others is not None:
        return of_positive, _wrong_negatives(judgements, of_others, judged, companions, count)
    return None if of_first is None else (of_positive, np.zeros(count))


def _wrong_negatives(
    judgements: Judgements, doubts: Doubts, judged: Mask, companions: Floats, count: int
) -> Floats:
    """Return how likely a negative of each line is wrong, or changed places with the positive.

    The latter is the share of wrong lines times the odds of the negatives, against those of the positive.
    """
    place, slot = judgements.place[judged], judgements.slot[judged]
    result, own, others = np.zeros(count), np.zeros(count), np.zeros(count)
    np.maximum.at(result, place[slot > 0], _either(doubts.wrong, companions[judged])[slot > 0])
    own[place[slot == 0]] = doubts.odds[slot == 0]
    np.add.at(others, place[slot > 0], doubts.odds[slot > 0])
    both = np.intersect1d(place[slot == 0], place[slot > 0])
    number = np.bincount(place[slot > 0], minlength=count)[both]
    share = np.minimum(doubts.share * number, 0.5)
    against = share * others[both] / number
    result[both] = np.maximum(result[both], against / (against + (1 - share) * own[both]))
    return result


def _either(one: Floats, other: Floats) -> Floats:
    """Return how likely a negative is wrong that may be so for one reason or for another: their mean odds."""
    odds = [chance / np.maximum(1 - chance, 1e-9) for chance in (one, other)]
    either = np.mean(odds, axis=0)
    result: Floats = np.where(other > 0, either / (1 + either), one)
    return result


def _note(wrong: Floats, named: Mask) -> str:
    return (
        f"labels, positives and negatives: an estimated {wrong.sum():,.0f} lines are wrong; {named.sum():,} "
        f"are named, of which {(1 - wrong[named]).sum():,.0f} may be right"
    )


def _precedence(judgements: Judgements, anchors: TextVectors, documents: TextVectors) -> Vectors:
    """Tell how near the judgements are that say yes of other texts: what belongs together there, does here.

    Near is where one text is near the anchor and the other near the text, or the other way round: the product
    of both cosines. They are seen from the middle of all, as some models put all texts close together.

    :param judgements: what is said of which texts.
    :param anchors: vectors of all anchors.
    :param documents: vectors of all other texts.
    :returns: mean of the three nearest, 0 where there are fewer, ``(judgements,)``.
    """
    result = np.zeros(len(judgements.place), dtype=np.float32)
    yes = some_of(np.flatnonzero(judgements.given == 1), _PRECEDENTS, np.random.default_rng(0))
    if len(yes) < _NEAREST_PRECEDENTS:
        return result
    ones, others = anchors.of(judgements.anchor[yes]), documents.of(judgements.text[yes])  # (yes, dim)
    middle, other_middle = ones.mean(axis=0), others.mean(axis=0)
    ones, others = unit_vectors(ones - middle), unit_vectors(others - other_middle)
    for start in range(0, len(result), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        asked = unit_vectors(anchors.of(judgements.anchor[rows]) - middle)
        found = unit_vectors(documents.of(judgements.text[rows]) - other_middle)
        near = (asked @ ones.T).clip(0) * (found @ others.T).clip(0)  # (rows, yes)
        np.maximum(near, (asked @ others.T).clip(0) * (found @ ones.T).clip(0), out=near)
        near[judgements.anchor[rows, None] == judgements.anchor[yes]] = 0
        near[judgements.text[rows, None] == judgements.text[yes]] = 0
        result[rows] = np.partition(near, -_NEAREST_PRECEDENTS, axis=1)[:, -_NEAREST_PRECEDENTS:].mean(axis=1)
    return result


def _shared_words(anchor: int, text: int, texts: TextTable) -> float:
    words = frozenset(texts.words(anchor))
    total = sum(map(texts.rarity, words))
    return sum(map(texts.rarity, words.intersection(texts.words(text)))) / total if total else 0.0
