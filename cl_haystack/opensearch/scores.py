"""From a model's similarity to the score that OpenSearch shows, and the bundle's thresholds by name.

People think in cosines, and thresholds are calibrated in them; OpenSearch's scores must not be negative, so
each space type maps the similarity to its own scale (k-NN plugin, "Spaces"):

    cosinesimil    (1 + cosine) / 2
    innerproduct   1 + dot product, below zero 1 / (1 - dot product)
    l2             1 / (1 + squared distance), which for unit vectors is 2 - 2 * cosine
"""

import math
from numbers import Real
from typing import Any

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.settings import SpaceType

DUPLICATE = "duplicate"  # the calibrated threshold that near-duplicates are found with


def score_of(similarity: float, space_type: SpaceType) -> float:
    """Return the score of a similarity.

    :param similarity: cosine, or dot product; cosine of unit vectors for ``l2``.
    :param space_type: of the index.
    :returns: the score, > 0.
    """
    if space_type == "cosinesimil":
        return (1 + similarity) / 2
    if space_type == "l2":
        return 1 / (3 - 2 * similarity)
    if space_type == "hamming":
        raise ConfigurationError(
            "a binary index tells in how many signs vectors differ, which is no cosine; for thresholds use "
            "an index of data_type float or byte"
        )
    return 1 + similarity if similarity >= 0 else 1 / (1 - similarity)


def similarity_of(score: float, space_type: SpaceType) -> float:
    """Return the similarity behind a score; the inverse of :func:`score_of`.

    :param score: > 0.
    :param space_type: of the index.
    :returns: cosine, or dot product.
    """
    if space_type == "cosinesimil":
        return 2 * score - 1
    if space_type == "l2":
        return (3 - 1 / score) / 2
    return score - 1 if score >= 1 else 1 - 1 / score


def similarity_threshold(threshold: float | str, bundle: ModelBundle) -> float:
    """Return a threshold as a similarity.

    :param threshold: a similarity, or the name of a threshold that the bundle was calibrated with.
    :param bundle: the model.
    :returns: cosine, or dot product.
    :raises ConfigurationError: the bundle has no threshold of this name, or a number is no similarity.
    """
    if not isinstance(threshold, str):
        check_number("threshold", threshold)
        limit = 1 if bundle.similarity == "cosine" else math.inf
        if not -limit < threshold <= limit:  # the server looks for no score of 0, a cosine of -1
            raise ConfigurationError(
                f"the threshold is {threshold}, expected a similarity such as 0.95"
                + (", above -1 and at most 1 for a model that is compared by cosine" if limit == 1 else "")
            )
        return float(threshold)
    known = bundle.manifest.calibration.get("thresholds", {})
    if threshold in known:
        return known[threshold].score
    has = f"has {', '.join(sorted(known))}" if known else "has none"
    raise ConfigurationError(
        f"there is no calibrated threshold {threshold!r} in {bundle.label}, which {has}; measure one with "
        "`cl-haystack evaluate BUNDLE PAIRS --calibrate`, or give a number"
    )


def check_number(name: str, value: Any) -> None:
    """Refuse what is neither a threshold's number nor its name.

    :param name: the parameter, for the message.
    :param value: its value.
    :raises ConfigurationError: it is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigurationError(
            f"{name} is {value!r}, expected a number, or the name of a threshold that the bundle was "
            "calibrated with"
        )


def check_min_score(min_score: float, space_type: SpaceType) -> None:
    """Refuse a score that no document can have.

    :param min_score: the least score of a radial search.
    :param space_type: of the index.
    :raises ConfigurationError: it is no number, not above 0, or above the highest score.
    """
    check_number("min_score", min_score)
    highest = math.inf if space_type == "innerproduct" else 1
    if not 0 < min_score <= highest:
        raise ConfigurationError(
            f"min_score is {min_score}, expected a score above 0"
            + (" and at most 1" if highest == 1 else "")
            + ("; that of a cosine c is (1 + c) / 2" if space_type == "cosinesimil" else "")
        )
