"""Lines of a file of pairs as a check holds them, for tests of what looks at them."""

from collections.abc import Sequence

import numpy as np

from cl_haystack.data.curation.intake import MALFORMED, NO_LABEL, Columns

Line = tuple[int, int, tuple[int, ...]] | None


def columns_of(
    lines: Sequence[Line], *, labels: Sequence[int | None], scores: Sequence[float | None]
) -> Columns:
    """Return columns of anchor, positive and negatives by number of the text; None is no pair."""
    empty = (MALFORMED, MALFORMED, ())
    filled = [line or empty for line in lines]
    return Columns(
        line=np.arange(1, len(lines) + 1),
        anchor=np.array([line[0] for line in filled]),
        positive=np.array([line[1] for line in filled]),
        negatives=np.array([text for line in filled for text in line[2]], dtype=np.int64),
        negatives_of=np.array([place for place, line in enumerate(filled) for _ in line[2]], dtype=np.int64),
        label=np.array([NO_LABEL if label is None else label for label in labels]),
        score=np.array([np.nan if score is None else score for score in scores]),
    )
