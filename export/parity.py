"""The proof of an export: the same real texts through torch and through the bundle."""

import functools
from pathlib import Path

import numpy as np

from cl_haystack.bundle.manifest import Parity
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.encoder import Vectors
from cl_haystack.errors import DataError

_NUM_TEXTS = 200
_NEIGHBOURS = 10


def read_check_texts(file: Path | None) -> list[str]:
    """Return real texts of all lengths.

    :param file: one text a line; None takes docstrings of the Python standard library.
    :returns: the texts.
    :raises DataError: the file cannot be read or holds fewer than two texts.
    """
    if file is None:
        return _stdlib_texts()
    try:
        texts = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", path=file) from error
    if len(texts) < 2:
        raise DataError(f"holds {len(texts)} texts; the check needs at least two, one a line", path=file)
    return texts


@functools.cache
def _stdlib_texts() -> list[str]:
    by_length = sorted((docstring.body for docstring in read_stdlib_docstrings()), key=len)
    return [*by_length[:: max(1, len(by_length) // _NUM_TEXTS)], by_length[-1]]


def measure_parity(expected: Vectors, found: Vectors) -> Parity:
    """Compare the vectors of the same texts.

    :param expected: the torch model's, ``(num_texts, dim)``.
    :param found: the bundle's, ``(num_texts, dim)``.
    :returns: lowest and mean cosine between both vectors of a text, the share of each text's ten nearest
        neighbours that both agree on, and the largest change of a cosine between two texts.
    """
    expected, found = _unit(expected), _unit(found)
    cosines = (expected * found).sum(axis=1)  # (num_texts,)
    scores, changed_scores = expected @ expected.T, found @ found.T  # (num_texts, num_texts)
    return Parity(
        cosine_min=float(cosines.min()),
        cosine_mean=float(cosines.mean()),
        top10_overlap=_neighbour_overlap(scores, changed_scores),
        texts=len(expected),
        score_change_max=float(np.abs(scores - changed_scores).max()),
    )


def int8_scale(vectors: Vectors) -> float:
    """Return by how much components are multiplied to fill a signed byte.

    :param vectors: of real texts, ``(num_texts, dim)``.
    :returns: the scale with which the largest component becomes 127; larger ones of other texts are clipped.
    """
    return 127 / float(np.abs(vectors).max())


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)  # (num_texts, dim)
    return unit


def _neighbour_overlap(scores: Vectors, changed_scores: Vectors) -> float:
    count = min(_NEIGHBOURS, len(scores) - 1)
    pairs = zip(_neighbours(scores, count), _neighbours(changed_scores, count), strict=True)
    return float(np.mean([len(set(a) & set(b)) / count for a, b in pairs]))


def _neighbours(scores: Vectors, count: int) -> list[list[int]]:
    others = scores - np.diag(
        np.full(len(scores), np.inf, dtype=np.float32)
    )  # a text is no neighbour of its own
    nearest: list[list[int]] = np.argsort(-others, axis=1, kind="stable")[:, :count].tolist()
    return nearest
