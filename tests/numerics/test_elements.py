from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradcheck.numerics.elements import absolute_error, blocks, digest, magnitude, real_parts, same_bits, ulp_distance

FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@given(array=hnp.arrays(np.int32, hnp.array_shapes(max_dims=3, min_side=0, max_side=5)), size=st.integers(1, 7))
def test_blocks_are_the_elements_in_c_order(array: np.ndarray, size: int) -> None:
    for layout in (array, np.asfortranarray(array), array[..., ::-1]):
        pieces = list(blocks(layout, size))
        assert all(0 < piece.size <= size and piece.ndim == 1 for piece in pieces)
        np.testing.assert_array_equal(np.concatenate([np.empty(0, np.int32), *pieces]), layout.ravel())


def test_blocks_of_a_contiguous_array_are_views() -> None:
    array = np.zeros((4, 4))
    assert all(np.shares_memory(piece, array) for piece in blocks(array, 3))


@pytest.mark.parametrize("dtype", FLOATS)
def test_same_bits_tells_zeros_apart_and_finds_one_element(dtype: Any) -> None:
    a = np.arange(10).astype(dtype)
    b = a.copy()
    assert same_bits(a, b, 3)
    b[0] = -0.0
    assert not same_bits(a, b, 3)
    b = a.copy()
    b[9] = np.nan
    assert not same_bits(a, b, 3)
    assert same_bits(b, b.copy(), 3)


@pytest.mark.parametrize("dtype", FLOATS)
@given(values=st.lists(st.floats(-6e4, 6e4, width=16), max_size=12), size=st.integers(1, 5))
def test_magnitude_is_the_largest_absolute_value(dtype: Any, values: list[float], size: int) -> None:
    array = np.array(values).astype(dtype)
    found = magnitude(array, size)
    assert found.finite
    assert found.largest == np.abs(array.astype(np.float64)).max(initial=0.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_magnitude_counts_finite_elements_only(dtype: Any, bad: float, place: int) -> None:
    array = np.array([1, -2, 0, 1, 2, -1, 1]).astype(dtype)
    array[place] = bad
    found = magnitude(array, 3)
    assert not found.finite
    assert found.largest == 2.0


def test_magnitude_of_only_infinities_is_zero() -> None:
    assert magnitude(np.array([np.inf, np.nan])).largest == 0.0


def test_magnitude_of_integers() -> None:
    assert magnitude(np.array([-128, 3], np.int8)).largest == 128.0
    assert magnitude(np.array([2**63], np.uint64)).largest == 2.0**63
    assert magnitude(np.array([False, True])).largest == 1.0
    assert magnitude(np.empty(0, np.int32)).largest == 0.0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("start", [0.0, -0.0, 1.0, -1.0, 1.5, -1e-3, 2.0**-14])
def test_nextafter_is_one_ulp_away(dtype: Any, start: float) -> None:
    here = np.array([start]).astype(dtype)
    for towards in (np.inf, -np.inf):
        there = np.nextafter(here, np.array([towards]).astype(dtype))
        assert ulp_distance(here, there).tolist() == [1]


@pytest.mark.parametrize("dtype", FLOATS)
def test_ulp_distance_at_the_ends(dtype: Any) -> None:
    zero, minus_zero, top, infinity = (
        np.array([x]).astype(dtype) for x in (0.0, -0.0, ml_dtypes.finfo(dtype).max, np.inf)
    )
    assert ulp_distance(zero, minus_zero).tolist() == [0]
    assert ulp_distance(top, infinity).tolist() == [1]
    steps_to_infinity = int(infinity.view(f"u{infinity.itemsize}")[0])
    assert ulp_distance(-infinity, infinity).tolist() == [2 * steps_to_infinity]


@given(a=hnp.arrays(np.int64, 3), b=hnp.arrays(np.int64, 3))
def test_ulp_distance_of_integers_is_their_difference(a: np.ndarray, b: np.ndarray) -> None:
    assert ulp_distance(a, b).tolist() == [abs(int(x) - int(y)) for x, y in zip(a, b, strict=True)]


@given(a=hnp.arrays(np.float32, 3), b=hnp.arrays(np.float32, 3))
def test_ulp_distance_is_symmetric_and_zero_only_for_equals(a: np.ndarray, b: np.ndarray) -> None:
    distance = ulp_distance(a, b)
    np.testing.assert_array_equal(distance, ulp_distance(b, a))
    numbers = ~(np.isnan(a) | np.isnan(b))
    np.testing.assert_array_equal((distance == 0)[numbers], (a == b)[numbers])


def test_absolute_error_of_integers_does_not_round_them_first() -> None:
    assert absolute_error(np.array([2**60]), np.array([2**60 + 1])).tolist() == [1.0]
    assert absolute_error(np.array([0], np.uint32), np.array([3], np.uint32)).tolist() == [3.0]
    assert absolute_error(np.array([True, False]), np.array([False, False])).tolist() == [1.0, 0.0]


def test_real_parts_of_complex_numbers_are_a_last_axis() -> None:
    numbers = np.array([[1 + 2j], [3 - 4j]], np.complex64)
    parts = real_parts(numbers.T)
    assert parts.dtype == np.float32
    assert parts.tolist() == [[[1, 2], [3, -4]]]
    assert real_parts(np.array(1j)).tolist() == [0.0, 1.0]
    floats = np.zeros(3)
    assert real_parts(floats) is floats


def test_a_digest_is_of_the_elements_in_c_order() -> None:
    array = np.arange(6, dtype="float32").reshape(2, 3)
    assert digest(array) == digest(np.asfortranarray(array)) == digest(array.copy())
    assert len({digest(a) for a in (array, array.T.copy(), -array, array.astype("float64"), array[:0])}) == 5
    assert digest(np.array(["a", "b"])) != digest(np.array(["a", "c"]))
    assert digest(np.array(1.0, ml_dtypes.bfloat16)) != digest(np.array(2.0, ml_dtypes.bfloat16))
