"""Vectors before they are compared: checked, scaled to length 1, and each text encoded once."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from cl_haystack.encoder.protocol import Vectors
from cl_haystack.errors import EncodingError
from cl_haystack.progress import OnProgress, Progress, ignore

_ENCODED_AT_ONCE = 4096  # texts: enough to batch by length, little enough to hold


def check_finite(vectors: Vectors) -> None:
    """Refuse vectors with which every comparison would be silently wrong.

    :param vectors: ``(num_texts, dim)``.
    :raises EncodingError: a vector holds NaN or infinity.
    """
    finite = np.isfinite(vectors)
    if not finite.all():
        broken = int((~finite.all(axis=1)).sum())
        raise EncodingError(
            f"the encoder returned NaN or infinity for {broken} texts; its weights are broken"
        )


def unit_vectors(vectors: Vectors) -> Vectors:
    """Scale each vector to length 1, so that dot products are cosines; a zero vector stays one.

    :param vectors: ``(num_texts, dim)``.
    :returns: float32 ``(num_texts, dim)``.
    :raises EncodingError: a vector holds NaN or infinity.
    """
    check_finite(vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # (num_texts, 1)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


class VectorsByKey:
    """Unit vectors by the text they were made of, or by its id; each is encoded once.

    :param encode: a method of a :class:`TextEncoder`.
    :param text_of: the text of a key.
    """

    def __init__(
        self, encode: Callable[..., Vectors], text_of: Callable[[str], str] = lambda key: key
    ) -> None:
        self.windows: list[tuple[list[str], Vectors]] = []
        """All keys and their vectors, ``(keys, dim)``, in parts."""
        self._encode = encode
        self._text_of = text_of
        self._rows: dict[str, Vectors] = {}

    def add(self, keys: Iterable[str], on_progress: OnProgress = ignore) -> None:
        """Encode those that have no vector yet.

        :param keys: any keys, also repeated ones.
        :param on_progress: told the number of texts encoded so far.
        :raises EncodingError: a vector holds NaN or infinity.
        """
        missing = [key for key in dict.fromkeys(keys) if key not in self._rows]
        for start in range(0, len(missing), _ENCODED_AT_ONCE):
            window = missing[start : start + _ENCODED_AT_ONCE]

            def told(step: Progress, before: int = start) -> None:
                on_progress(Progress(before + step.done, len(missing)))

            vectors = unit_vectors(self._encode([self._text_of(key) for key in window], on_progress=told))
            self._rows.update(zip(window, vectors, strict=True))
            self.windows.append((window, vectors))

    def of(self, keys: Sequence[str]) -> Vectors:
        """Return the vectors of keys that were added.

        :param keys: one key or more.
        :returns: ``(keys, dim)``, in the order given.
        """
        return np.stack([self._rows[key] for key in keys])
