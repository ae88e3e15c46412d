"""Negatives that are like the positive beside them: another part of its document, the same question again.

Such a text belongs to the anchor as much as the positive does, but anchor and text alone may hardly tell: a
claim is nearer to the abstract's conclusion than to its introduction. What tells is how near it is to the
positive. How near texts are that belong together, and how near those that do not, is learned from the file:
of anchors and their positives, and of positives and the negatives beside them, of which a few are wrong.
"""

import numpy as np

from cl_haystack.data.curation.doubts import Floats, doubt
from cl_haystack.data.curation.near_texts import Ids
from cl_haystack.data.curation.plausibility import STANDING, Features, Judgements
from cl_haystack.data.curation.standing import SAMPLE, some_of, standing
from cl_haystack.data.curation.vectors import TextVectors

_AT_ONCE = 512  # negatives


def doubted_companions(judgements: Judgements, features: Features, documents: TextVectors) -> Floats:
    """Estimate how likely each negative belongs to its anchor, by the positive of its line.

    :param judgements: what the lines say.
    :param features: what :func:`~cl_haystack.data.curation.plausibility.measure` gave for it.
    :param documents: vectors of all texts but anchors.
    :returns: 0 to 1, ``(judgements,)``; 0 for all but negatives, and where too little is said to tell.
    """
    result = np.zeros(len(judgements.place))
    yes = (judgements.slot == 0) & (judgements.given == 1)
    positive = np.full(int(judgements.place.max(initial=-1)) + 1, -1)
    positive[judgements.place[yes]] = judgements.text[yes]
    negatives = np.flatnonzero(judgements.slot > 0)
    negatives = negatives[positive[judgements.place[negatives]] >= 0]
    beside = positive[judgements.place[negatives]]
    measured = _measure(beside, judgements.text[negatives], documents)
    doubts = doubt(
        np.concatenate([features[yes][:, STANDING], measured]),
        np.repeat([1, 0], [int(yes.sum()), len(negatives)]),
        np.repeat([0.0, np.nan], [int(yes.sum()), len(negatives)]),
    )
    if doubts is not None:
        result[negatives] = doubts.wrong[int(yes.sum()) :]
    return result


def _measure(positives: Ids, negatives: Ids, documents: TextVectors) -> Features:
    """Tell where negatives stand among all texts as seen from the positives beside them, and the reverse.

    :param positives: numbers of texts, ``(negatives,)``.
    :param negatives: numbers of texts, ``(negatives,)``.
    :param documents: vectors.
    :returns: three numbers each, as for anchors and positives, ``(negatives, 6)``.
    """
    random = np.random.default_rng(0)
    other_ids = some_of(np.concatenate([positives, negatives]), SAMPLE, random)
    asker_ids = some_of(positives, SAMPLE, random)
    others, askers = documents.of(other_ids), documents.of(asker_ids)  # (sample, dim)
    measured = np.empty((len(negatives), 6), dtype=np.float32)
    for start in range(0, len(negatives), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        one, other = positives[rows, None], negatives[rows, None]
        asked, found = documents.of(positives[rows]), documents.of(negatives[rows])
        cosines = np.einsum("ij,ij->i", asked, found)  # (rows,)
        own = (other_ids == one) | (other_ids == other)
        measured[rows, :3] = standing(cosines, asked @ others.T, own)
        own = (asker_ids == one) | (asker_ids == other)
        measured[rows, 3:] = standing(cosines, found @ askers.T, own)
    return measured
