"""What vectors say of pairs: positives out of place, negatives that are answers, labels the wrong way.

Cosines have no scale of their own, so each limit comes from the file: what its texts have in common by chance
is measured on anchors and the positives of other lines, and a label is compared with the cosines of both
labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_haystack.data.curation.findings import texts_of
from cl_haystack.data.curation.intake import NO_LABEL, Columns, Intake
from cl_haystack.encoder.protocol import TextEncoder, Vectors
from cl_haystack.encoder.vectors import unit_vectors
from cl_haystack.progress import OnProgress, Progress

_ENCODED_AT_ONCE = 1024  # lines
_CHANCE = 0.95  # quantile of what texts have in common by chance
_OUT_OF_PLACE_DEVIATIONS = 3.0
_FAR_BELOW = 0.2
_CLEARLY_ABOVE = 0.02
_MIN_ACCURACY = 0.88  # wrong labels themselves lower it
_MIN_LABELLED = 20
_DOUBT = 1.0  # log of the ratio of likelihoods
_MAD_TO_DEVIATION = 1.4826

Cosines = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Similarities:
    """Cosines by line, NaN where there is none.

    :param positive: anchor and positive, ``(lines,)``.
    :param negative: anchor and the nearest of its negatives, ``(lines,)``.
    :param nearest: place of that negative in its line, ``(lines,)``.
    :param chance: anchors and the positives of other lines, ``(lines,)``.
    """

    positive: Cosines
    negative: Cosines
    nearest: NDArray[np.int64]
    chance: Cosines


def measure(intake: Intake, columns: Columns, encoder: TextEncoder, on_progress: OnProgress) -> Similarities:
    """Encode all texts, some lines at a time.

    :param intake: the lines.
    :param columns: what is known of them.
    :param encoder: any.
    :param on_progress: told the number of lines encoded.
    :returns: the cosines.
    """
    count = len(columns.line)
    found = Similarities(np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, dtype=np.int64),
                         np.full(count, np.nan))  # fmt: skip
    for places, records in _some_at_a_time(intake):
        _measure(places, records, encoder, found)
        on_progress(Progress(places[-1] + 1, count, "encoding"))
    return found


def false_positives(found: Similarities, columns: Columns) -> Mask:
    """Tell which positives are far below a negative, or no more like the anchor than a text by chance.

    :param found: the cosines.
    :param columns: the lines; those of label 0 have no positive.
    :returns: ``(lines,)``.
    """
    positive = np.where((columns.label == 0) | ~np.isnan(columns.score), np.nan, found.positive)
    if np.isnan(positive).all():
        return np.zeros(len(positive), dtype=bool)
    middle = float(np.nanmedian(positive))
    deviation = _MAD_TO_DEVIATION * float(np.nanmedian(np.abs(positive - middle)))
    by_chance = float(np.nanquantile(found.chance, _CHANCE)) if not np.isnan(found.chance).all() else -1.0
    out_of_place = positive < min(by_chance, middle - _OUT_OF_PLACE_DEVIATIONS * deviation)
    result: Mask = out_of_place | (positive < found.negative - _FAR_BELOW)
    return result


def false_negatives(found: Similarities, columns: Columns) -> Mask:
    """Tell which lines have a negative that is clearly more similar to the anchor than the positive.

    :param found: the cosines.
    :param columns: the lines.
    :returns: ``(lines,)``.
    """
    result: Mask = (found.negative >= found.positive + _CLEARLY_ABOVE) & (columns.label != 0)
    return result


def doubtful_labels(found: Similarities, columns: Columns) -> tuple[Mask, str]:
    """Tell which labels the cosine speaks against: it is 2.7 times as likely with the other label.

    The cosines of either label are taken for normally distributed, around their median, so that a few wrong
    labels do not matter. Where the model cannot tell the labels apart, none is doubted.

    :param found: the cosines.
    :param columns: the lines.
    :returns: ``(lines,)``, and why nothing was looked at, or nothing.
    """
    result = np.zeros(len(columns.line), dtype=bool)
    places = np.flatnonzero((columns.label != NO_LABEL) & ~np.isnan(found.positive))
    labels, cosines = columns.label[places], found.positive[places]
    if min((labels == 0).sum(), (labels == 1).sum()) < _MIN_LABELLED:
        return result, "" if not len(places) else f"labels: fewer than {_MIN_LABELLED} are 0, or 1"
    likelihoods = np.stack([_log_likelihood(cosines, cosines[labels == label]) for label in (0, 1)])
    rows = np.arange(len(labels))
    other, own = likelihoods[1 - labels, rows], likelihoods[labels, rows]
    right = float(np.mean([(own > other)[labels == label].mean() for label in (0, 1)]))
    if right < _MIN_ACCURACY:
        return result, (
            f"labels: the model's cosines tell them apart with an accuracy of {right:.2f}, at least "
            f"{_MIN_ACCURACY} is wanted to doubt one"
        )
    result[places] = other - own > _DOUBT
    return result, ""


def _log_likelihood(cosines: Cosines, sample: Cosines) -> Cosines:
    middle = np.median(sample)
    deviation = max(_MAD_TO_DEVIATION * float(np.median(np.abs(sample - middle))), 1e-3)
    result: Cosines = -(((cosines - middle) / deviation) ** 2) / 2 - np.log(deviation)
    return result


def _some_at_a_time(intake: Intake) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    pairs = ((place, record) for place, record in enumerate(intake.lines()) if "problem" not in record)
    while some := list(islice(pairs, _ENCODED_AT_ONCE)):
        yield [place for place, _ in some], [record for _, record in some]


def _measure(
    places: list[int], records: list[dict[str, Any]], encoder: TextEncoder, found: Similarities
) -> None:
    anchors = unit_vectors(encoder.encode_queries([record["anchor"] for record in records]))  # (lines, dim)
    texts = list(dict.fromkeys(text for record in records for text in texts_of(record)[1:]))
    rows = {text: row for row, text in enumerate(texts)}
    vectors: Vectors = unit_vectors(encoder.encode_documents(texts))  # (texts, dim)
    positives = vectors[[rows[record["positive"]] for record in records]]  # (lines, dim)
    found.positive[places] = (anchors * positives).sum(axis=1)
    if len(records) > 1:
        found.chance[places] = (anchors * np.roll(positives, len(records) // 2, axis=0)).sum(axis=1)
    for place, anchor, record in zip(places, anchors, records, strict=True):
        if negatives := record.get("negatives"):
            cosines = vectors[[rows[text] for text in negatives]] @ anchor  # (negatives,)
            found.nearest[place] = int(cosines.argmax())
            found.negative[place] = float(cosines.max())
