from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradcheck.numerics import SparseRows, euclidean_norm, is_zero, largest

FINITE = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(arrays(np.float32, st.integers(1, 50), elements=FINITE), arrays(np.float32, st.integers(1, 50), elements=FINITE))
def test_the_norm_of_several_is_that_of_one_long_vector(a: np.ndarray, b: np.ndarray) -> None:
    expected = float(np.linalg.norm(np.concatenate([a, b]).astype(np.float64)))
    assert euclidean_norm([a, None, b]) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_squares_neither_overflow_nor_vanish() -> None:
    assert euclidean_norm([np.full(4, 1e200)]) == pytest.approx(2e200)
    assert euclidean_norm([np.full(4, 1e-200)]) == pytest.approx(2e-200)


def test_nothing_is_zero_and_nan_carries_through() -> None:
    assert (euclidean_norm([]), euclidean_norm([None]), largest(None)) == (0.0, 0.0, 0.0)
    assert math.isnan(euclidean_norm([np.array([1.0, np.nan])]))
    assert largest(np.array([1.0, np.nan, -3.0])) == 3.0


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (None, True),
        (np.zeros((2, 3)), True),
        (np.zeros(0), True),
        (np.array([0.0, 1e-300]), False),
        (np.array([0.0, np.nan]), False),
        (np.array([np.inf]), False),
        (SparseRows(indices=np.array([1, 1]), values=np.array([[3.0], [-3.0]]), shape=(3, 1)), True),
    ],
)
def test_what_is_zero(tensor: np.ndarray | SparseRows | None, expected: bool) -> None:
    assert is_zero(tensor) is expected


def test_duplicate_rows_are_summed_first() -> None:
    rows = SparseRows(indices=np.array([1, 1]), values=np.array([[3.0], [4.0]]), shape=(3, 1))
    assert (euclidean_norm([rows]), largest(rows)) == (7.0, 7.0)
