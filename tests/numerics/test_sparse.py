from __future__ import annotations

from dataclasses import asdict
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradcheck.errors import RunError
from gradcheck.numerics import EXACT, SparseRows, Tolerance, compare
from gradcheck.numerics import comparison as comparison_module
from gradcheck.results.tensor import Worst

AUTO = Tolerance(1e-4, None)
ROWS = 6


@st.composite
def sparse(draw: st.DrawFn) -> SparseRows:
    """Rows of a (6, 2) tensor, some of them several times; whole numbers, so that sums are exact in any order."""
    count = draw(st.integers(0, 8))
    indices = draw(hnp.arrays(np.int64, count, elements=st.integers(0, ROWS - 1)))
    values = draw(hnp.arrays(np.float32, (count, 2), elements=st.integers(-9, 9)))
    return SparseRows(indices, values, (ROWS, 2))


def added_up(rows: SparseRows) -> np.ndarray:
    """The dense tensor, independently."""
    tensor = np.zeros(rows.shape, rows.values.dtype)
    np.add.at(tensor, rows.indices, rows.values)
    return tensor


@given(rows=sparse())
def test_coalesce_sums_duplicates_into_sorted_unique_rows(rows: SparseRows) -> None:
    merged = rows.coalesce()
    assert merged.indices.tolist() == sorted(set(rows.indices.tolist()))
    assert merged.dtype == rows.dtype
    np.testing.assert_array_equal(merged.dense(), added_up(rows))
    np.testing.assert_array_equal(rows.dense(), added_up(rows))


@given(a=sparse(), b=sparse(), near=st.booleans(), block=st.integers(1, 9))
def test_sparse_equals_dense_after_densifying(a: SparseRows, b: SparseRows, *, near: bool, block: int) -> None:
    if near:
        b = SparseRows(a.indices[::-1], a.values[::-1] * np.float32(1 + 2**-14), a.shape)
    dense = asdict(compare(added_up(a), added_up(b), AUTO))
    for left, right in ((a, b), (a, added_up(b)), (added_up(a), b)):
        found = asdict(compare(left, right, AUTO, block=block))
        for figure in ("cosine", "norm_ratio", "reference_norm", "candidate_norm"):
            assert found.pop(figure) == pytest.approx(dense[figure], rel=1e-12, abs=1e-12, nan_ok=True)
        np.testing.assert_equal(found, {figure: dense[figure] for figure in found})


def test_duplicates_that_are_not_summed_are_found() -> None:
    rows = SparseRows(np.array([4, 1, 4]), np.array([[1.0], [2.0], [3.0]]), (ROWS, 1))
    last_only = SparseRows(np.array([4, 1]), np.array([[3.0], [2.0]]), (ROWS, 1))
    found = compare(rows, last_only, AUTO)
    assert (found.status, found.mismatched_elements, found.elements, found.shape) == ("mismatch", 1, 6, (ROWS, 1))
    assert found.worst == Worst(index=(4, 0), reference=4.0, candidate=3.0)


def test_a_row_on_one_side_only_is_compared_with_zeros() -> None:
    one = SparseRows(np.array([2]), np.ones((1, 3), np.float32), (ROWS, 3))
    two = SparseRows(np.array([2, 5]), np.ones((2, 3), np.float32), (ROWS, 3))
    assert compare(one, two, AUTO).worst == Worst(index=(5, 0), reference=0.0, candidate=1.0)
    assert compare(two, one, AUTO).worst == Worst(index=(5, 0), reference=1.0, candidate=0.0)
    of_zeros = SparseRows(np.array([2, 5]), np.array([[1] * 3, [0] * 3], np.float32), (ROWS, 3))
    assert compare(one, of_zeros, EXACT).status == "exact"


def test_no_rows_are_dead() -> None:
    nothing = SparseRows(np.empty(0, np.int32), np.empty((0, 2), np.float32), (ROWS, 2))
    found = compare(nothing, nothing, AUTO)
    assert (found.status, found.elements) == ("dead", 12)
    assert compare(nothing, nothing, AUTO, gradient=False).status == "exact"


def test_two_sparse_tensors_stay_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("densified")

    monkeypatch.setattr(SparseRows, "dense", refuse)
    monkeypatch.setattr(comparison_module, "to_array", refuse)
    huge = SparseRows(np.array([7, 10**9]), np.ones((2, 4), np.float32), (2 * 10**9, 4))
    found = compare(huge, huge.coalesce(), AUTO)
    assert (found.status, found.elements) == ("exact", 8 * 10**9)


def test_kinds_that_differ_are_mismatches() -> None:
    rows = SparseRows(np.array([0]), np.ones((1, 2), np.float32), (ROWS, 2))
    assert compare(rows, np.ones((2, 2), np.float32), AUTO).note == "shape (6, 2) against (2, 2)"
    half = SparseRows(rows.indices, rows.values.astype(np.float16), rows.shape)
    assert compare(rows, half, AUTO).note == "dtype float32 against float16"
    assert compare(rows, None, AUTO).status == "missing"


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_duplicates_are_summed_before_they_are_rounded(dtype: Any) -> None:
    values = np.concatenate([[1.0], np.full(512, 2.0**-12)]).astype(dtype)[:, np.newaxis]
    merged = SparseRows(np.zeros(513, np.int64), values, (1, 1)).coalesce()
    assert merged.values.tolist() == [[1.125]]


@pytest.mark.parametrize(
    ("indices", "values", "shape", "message"),
    [
        ([0, 1], np.ones((1, 2)), (ROWS, 2), "does not fit its tensor"),
        ([0], np.ones((1, 3)), (ROWS, 2), "does not fit its tensor"),
        ([[0]], np.ones((1, 2)), (ROWS, 2), "does not fit its tensor"),
        ([ROWS], np.ones((1, 2)), (ROWS, 2), "from 6 to 6 for a tensor of 6 rows"),
        ([-1], np.ones((1, 2)), (ROWS, 2), "from -1 to -1"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(
    indices: list[Any], values: np.ndarray, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RunError, match=message) as caught:
        SparseRows(np.array(indices), values, shape)
    assert caught.value.code == "GC055"
