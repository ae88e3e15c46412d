"""The form in which an index stores vectors: float32, bytes, or signs alone. Queries take the same form.

The vectors of documents and queries come from the encoder as float32; the index turns them into its own form
on the way to the server, so nobody above it has to know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder.quantized_vectors import as_bits, as_int8, from_bits, int8_scale
from cl_haystack.errors import ConfigurationError, EncodingError

DataType = Literal["float", "byte", "binary"]
Row = NDArray[np.float32] | NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class VectorForm:
    """What becomes of a vector before it is sent.

    :param data_type: of the vector field.
    :param scale: of bytes: steps for a component of 1.0; 0 for other types.
    """

    data_type: DataType = "float"
    scale: float = 0.0

    @classmethod
    def of(cls, data_type: DataType, bundle: ModelBundle, dimension: int) -> "VectorForm":
        """Return the form of a data type for a model's vectors.

        :param data_type: of the vector field.
        :param bundle: the model.
        :param dimension: how many dimensions of its vectors are stored.
        :returns: the form.
        :raises ConfigurationError: the model's vectors cannot be brought into it.
        """
        try:
            if data_type == "byte":
                return cls(data_type, int8_scale(bundle, dimension))
            if data_type == "binary":
                as_bits(np.zeros((1, dimension), dtype=np.float32))
        except EncodingError as error:
            raise ConfigurationError(f"data_type {data_type}: {error}") from error
        return cls(data_type)

    def __call__(self, row: NDArray[np.float32]) -> Row:
        """Return one vector as it is stored and asked for.

        :param row: float32 ``(dim,)``, finite.
        :returns: float32 ``(dim,)``; int8 ``(dim,)`` for bytes, ``(dim / 8,)`` for signs.
        """
        if self.data_type == "byte":
            length = np.linalg.norm(row)
            return as_int8(row / length if length > 0 else row, self.scale)
        return as_bits(row[np.newaxis])[0] if self.data_type == "binary" else row

    def rows(
        self, stored: Sequence[Sequence[float] | Row | None], dimension: int, *, unit: bool
    ) -> NDArray[np.float32]:
        """Return stored vectors as rows whose products compare them; zeros for a missing one.

        :param stored: as the index returns them, or as :meth:`__call__` does.
        :param dimension: of the vectors; eight times as many as a stored one of signs has bytes.
        :param unit: bring each row to unit length.
        :returns: float32 ``(len(stored), dim)``; 1 or -1 for a sign.
        """
        rows = np.zeros((len(stored), dimension), dtype=np.float32)
        for row, vector in zip(rows, stored, strict=True):
            if vector is not None:
                row[:] = from_bits(np.asarray(vector)) if self.data_type == "binary" else vector
        if unit:
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return rows


def data_type_of(vector_field: dict[str, Any]) -> str:
    """Return the data type in the mapping of a vector field, which OpenSearch writes in capitals."""
    return str(vector_field.get("data_type", "float")).lower()
