from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradcheck.numerics import SparseRows, Tolerance, compare, with_spread
from gradcheck.numerics.spread import BINS, spread

TOLERANCE = Tolerance(rtol=1e-5, atol=0.0)
FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays(np.float32, 300, elements=FINITE), arrays(np.float32, 300, elements=FINITE), st.integers(1, 400))
def test_every_element_is_counted_once(r: np.ndarray, c: np.ndarray, block: int) -> None:
    found = spread(r, c, block=block)
    assert found is not None
    assert sum(found.counts) + found.equal + found.nonfinite == r.size
    error = np.abs(c.astype(np.float64) - r.astype(np.float64))
    assert found.counts == tuple(
        int(np.count_nonzero((low <= error) & (error < high) & (error > 0)))
        for low, high in zip(found.edges, found.edges[1:], strict=False)
    )
    assert len(found.counts) <= BINS
    assert len(found.reference) == len(found.candidate) <= 64
    pairs = set(zip(found.reference, found.candidate, strict=True))
    worst = np.argsort(-error, kind="stable")[:16]
    assert all((float(r[n]), float(c[n])) in pairs for n in worst if error[n])


def test_the_size_does_not_grow_with_the_tensor() -> None:
    r = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
    c = r * np.float32(1.001)
    c[7, 7] = 1e20
    found = spread(r, c)
    assert found is not None
    assert len(found.counts) <= BINS
    assert len(found.candidate) <= 64
    assert np.float64(np.float32(1e20)) in found.candidate
    assert found.edges[-1] > 1e20
    assert found.edges[0] > 0


def test_what_is_not_finite_is_counted_and_sampled() -> None:
    found = spread(np.array([1.0, 2.0, 3.0]), np.array([math.nan, 2.0, math.inf]))
    assert found is not None
    assert (found.counts, found.equal, found.nonfinite) == ((), 1, 2)
    assert math.isnan(found.candidate[0])
    assert found.candidate[2] == math.inf


@pytest.mark.parametrize("extreme", [5e-324, 1.7e308])
def test_extreme_errors_have_a_bin(extreme: float) -> None:
    found = spread(np.zeros(2), np.array([extreme, 0.0]))
    assert found is not None
    assert found.counts == (1,)
    low, high = found.edges
    assert low <= extreme < high


def test_rows_of_sparse_tensors_are_aligned() -> None:
    one = SparseRows(indices=np.array([0, 5]), values=np.ones((2, 2)), shape=(1000, 2))
    other = SparseRows(indices=np.array([5]), values=np.full((1, 2), 1.5), shape=(1000, 2))
    found = spread(one, other)
    assert found is not None
    assert (found.edges, found.counts, found.equal) == ((0.5, 1.0, 2.0), (2, 2), 0)


def test_only_a_failing_tensor_has_one() -> None:
    r = np.array([1.0, 2.0])
    assert with_spread(compare(r, r, TOLERANCE), r, r).spread is None
    wrong = with_spread(compare(r, -r, TOLERANCE), r, -r).spread
    assert wrong is not None
    assert wrong.reference == (1.0, 2.0)
    assert wrong.candidate == (-1.0, -2.0)
    assert with_spread(compare(r, None, TOLERANCE), r, None).spread is None
    assert with_spread(compare(r, r[:1], TOLERANCE), r, r[:1]).spread is None
