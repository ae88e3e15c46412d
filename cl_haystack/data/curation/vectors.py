"""Vectors of the texts of a file, each encoded once and kept on disk: a million of 384 numbers are 768 MB."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cl_haystack.data.curation.near_texts import Ids
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.encoder.vectors import unit_vectors
from cl_haystack.progress import OnProgress, Progress

_AT_ONCE = 4096  # texts


class TextVectors:
    """Unit vectors by number of the text, as float16 in an unnamed file, which vanishes with the process.

    :param ids: numbers of the texts, ascending, ``(texts,)``.
    :param encode: a method of an encoder.
    :param text_of: reads a text.
    :param folder: where the file lies.
    :param on_progress: told the number of texts encoded.
    :raises EncodingError: a vector holds NaN or infinity.
    """

    def __init__(
        self,
        ids: Ids,
        encode: Callable[..., Vectors],
        text_of: Callable[[int], str],
        folder: Path,
        on_progress: OnProgress,
    ) -> None:
        self.ids = ids
        self._rows: NDArray[np.float16] = np.empty((0, 0), dtype=np.float16)
        with tempfile.TemporaryFile(dir=folder) as file:
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE].tolist()
                vectors = unit_vectors(encode([text_of(text) for text in some]))  # (some, dim)
                if not start:
                    shape = (len(ids), vectors.shape[1])
                    self._rows = np.memmap(file, dtype=np.float16, mode="w+", shape=shape)
                self._rows[start : start + len(some)] = vectors
                on_progress(Progress(start + len(some), len(ids), "encoding"))

    def of(self, ids: Ids) -> Vectors:
        """Return the vectors of texts that are among those encoded, ``(texts, dim)``."""
        return self._rows[np.searchsorted(self.ids, ids)].astype(np.float32)

    def windows(self) -> Iterator[tuple[Ids, Vectors]]:
        """Yield all numbers and vectors, some at a time."""
        for start in range(0, len(self.ids), _AT_ONCE):
            yield self.ids[start : start + _AT_ONCE], self._rows[start : start + _AT_ONCE].astype(np.float32)
