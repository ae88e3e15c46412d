"""The vectors of an index: what a query's must be to be compared with them, and stored ones read back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.queries import Vector
from cl_haystack.opensearch.vector_form import Row, VectorForm


@dataclass(frozen=True, slots=True)
class IndexVectors:
    """The vectors of an index.

    :param index: its name, for messages.
    :param bundle: the model.
    :param dimension: length of the vectors.
    :param form: how the index stores them.
    """

    index: str
    bundle: ModelBundle
    dimension: int
    form: VectorForm

    def asked(self, vector: Vector) -> Row:
        """Return a query's vector as the index is asked with it.

        :param vector: the query's, ``(dim,)``.
        :returns: in the form of the stored ones.
        :raises TypeError: it holds no numbers.
        :raises IndexingError: it has another shape, or is not finite.
        """
        try:
            row = np.ascontiguousarray(vector, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the query's vector, a {type(vector).__name__}, holds something other than numbers; give "
                f"{self.dimension} numbers, from CLTextEmbedder or Encoder.encode_queries"
            ) from error
        if row.shape != (self.dimension,):
            raise IndexingError(
                f"index '{self.index}': the query's vector has shape {row.shape}, expected "
                f"({self.dimension},); embed the query with {self.bundle.label}"
            )
        if not np.isfinite(row).all():
            raise IndexingError(f"index '{self.index}': the query's vector holds NaN or an infinite number")
        return self.form(row)

    def rows(self, stored: Sequence[Sequence[float] | Row | None]) -> NDArray[np.float32]:
        """Return stored vectors as rows whose products are the model's similarities.

        :param stored: as the index returns them.
        :returns: ``(len(stored), dim)``.
        """
        # Bytes and signs keep no length, so there is nothing but the cosine to compare.
        is_cosine = self.bundle.similarity == "cosine" or self.form.data_type != "float"
        return self.form.rows(stored, self.dimension, unit=is_cosine)
