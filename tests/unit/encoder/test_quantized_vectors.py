"""Bytes and bits against loops over numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cl_haystack.encoder.quantized_vectors import as_bits, as_int8, from_bits
from cl_haystack.errors import EncodingError

vectors = arrays(np.float32, (3, 16), elements=st.floats(-1, 1, width=32))


@given(vectors, st.floats(1, 1000, width=32))
def test_int8_is_rounding_within_bounds(values: np.ndarray, scale: float) -> None:
    found = as_int8(values, scale)
    assert found.dtype == np.int8
    for row, expected_row in zip(found.tolist(), values, strict=True):
        for byte, value in zip(row, expected_row, strict=True):
            assert byte == max(-127, min(127, round(float(value * np.float32(scale)))))
    np.testing.assert_array_equal(as_int8(-values, scale), -found)


@given(vectors)
def test_bits_are_signs_first_component_highest(values: np.ndarray) -> None:
    found = as_bits(values).view(np.uint8)
    assert found.shape == (3, 2)
    for row, expected_row in zip(found, values, strict=True):
        digits = "".join("1" if value > 0 else "0" for value in expected_row)
        assert f"{row[0]:08b}{row[1]:08b}" == digits
    np.testing.assert_array_equal(from_bits(as_bits(values)), np.where(values > 0, 1, -1))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(EncodingError, match="positive"):
        as_int8(np.zeros((1, 8), dtype=np.float32), scale)


def test_bits_need_whole_bytes() -> None:
    with pytest.raises(EncodingError, match="multiple of 8 dimensions, found 12"):
        as_bits(np.zeros((1, 12), dtype=np.float32))
