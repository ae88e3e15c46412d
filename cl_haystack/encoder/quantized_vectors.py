"""Vectors in fewer bytes, for byte and binary indices: 4 times and 32 times smaller than float32."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_haystack.bundle import ModelBundle
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.errors import EncodingError


def as_int8(vectors: Vectors, scale: float) -> NDArray[np.int8]:
    """Round ``vectors * scale`` to whole numbers; what lies outside -127..127 becomes the nearest of them.

    -128 is left out, so that a vector and its opposite stay opposite.

    :param vectors: ``(num_texts, dim)``.
    :param scale: steps for a component of 1.0; the same for all vectors that are compared.
    :returns: int8 ``(num_texts, dim)``.
    :raises EncodingError: ``scale`` is not a positive number.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise EncodingError(f"the int8 scale is {scale}, expected a positive number")
    rounded: NDArray[np.int8] = np.clip(np.rint(vectors * np.float32(scale)), -127, 127).astype(np.int8)
    return rounded


def int8_scale(bundle: ModelBundle, dimension: int) -> float:
    """Return the scale with which a model's vectors fill bytes best.

    :param bundle: the model.
    :param dimension: of the vectors; the fewer components a unit vector has, the larger they are.
    :returns: steps for a component of 1.0.
    :raises EncodingError: the bundle has none.
    """
    scale = bundle.manifest.calibration.get("int8_scale")
    if scale is None:
        raise EncodingError(
            f"bundle {bundle.label} has no int8_scale in its calibration; export it again with one, or use "
            "'binary'"
        )
    return scale * math.sqrt(dimension / bundle.dimension)


def as_bits(vectors: Vectors) -> NDArray[np.int8]:
    """Pack the signs: bit 1 where a component is above 0, the first component in the highest bit.

    The bytes are signed, as OpenSearch takes them for ``data_type: binary``.

    :param vectors: ``(num_texts, dim)``, ``dim`` a multiple of 8.
    :returns: int8 ``(num_texts, dim / 8)``.
    :raises EncodingError: ``dim`` is not a multiple of 8.
    """
    if vectors.shape[1] % 8:
        raise EncodingError(
            f"binary vectors need a multiple of 8 dimensions, found {vectors.shape[1]}; "
            "choose another truncate_dim"
        )
    return np.packbits(vectors > 0, axis=1).view(np.int8)  # (num_texts, dim / 8)


def from_bits(bits: NDArray[Any]) -> NDArray[np.float32]:
    """Unpack what :func:`as_bits` packed.

    :param bits: whole numbers of signed bytes, ``(..., dim / 8)``.
    :returns: 1 or -1, ``(..., dim)``.
    """
    return np.unpackbits(bits.astype(np.int8).view(np.uint8), axis=-1) * np.float32(2) - np.float32(1)
