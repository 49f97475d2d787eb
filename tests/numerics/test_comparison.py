from __future__ import annotations

import math
import tracemalloc
from dataclasses import asdict, replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradcheck.errors import RunError
from gradcheck.numerics import EXACT, Tolerance, compare
from gradcheck.results.tensor import Comparison, Worst

AUTO = Tolerance(1e-5, None)
FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
#: Where squares and quotients of two neither overflow nor lose digits below the smallest normal number.
NUMBERS = st.floats(-1e3, 1e3, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
ARRAYS = hnp.arrays(np.float32, SHAPES, elements=NUMBERS)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one shape, float32 or float64, equal in some elements."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    shape = draw(SHAPES)
    first, second = (draw(hnp.arrays(dtype, shape, elements=NUMBERS)) for _ in range(2))
    kept = draw(hnp.arrays(bool, shape))
    near = first * dtype(1 + draw(st.sampled_from([0, 1e-7, 1e-5, 1e-3])))
    return first, np.where(kept, near, second)


def finite_figures(comparison: Comparison) -> dict[str, Any]:
    """Everything but what sums over elements, whose rounding depends on the order."""
    sums = ("cosine", "norm_ratio", "reference_norm", "candidate_norm")
    return {key: value for key, value in asdict(comparison).items() if key not in sums}


@given(pair=pairs(), gradient=st.booleans(), broken=st.sampled_from([None, math.nan, math.inf]))
def test_in_brief_all_but_what_only_readers_need_is_the_same(
    pair: tuple[np.ndarray, np.ndarray], broken: float | None, *, gradient: bool
) -> None:
    reference, candidate = pair
    if broken is not None and candidate.size:
        candidate = candidate.copy()
        candidate.flat[0] = broken
    whole = compare(reference, candidate, AUTO, gradient=gradient)
    brief = compare(reference, candidate, AUTO, gradient=gradient, brief=True)
    nan = math.nan
    left_out = {"max_ulp_error": nan, "cosine": nan, "norm_ratio": nan, "reference_norm": nan, "candidate_norm": nan}
    same = reference.tobytes() == candidate.tobytes()
    required = whole.required if same else replace(whole.required, rtol=nan)
    expected = whole if same else replace(whole, **left_out, required=required)
    assert repr(brief) == repr(expected)


# Status


@given(array=ARRAYS)
def test_identical_arrays_pass(array: np.ndarray) -> None:
    found = compare(array, array.copy(), EXACT)
    assert found.status == ("exact" if array.any() else "dead")
    assert found.allclose
    assert found.worst is None
    figures = (found.max_abs_error, found.max_rel_error, found.max_ulp_error, found.required.rtol, found.required.atol)
    assert figures == (0, 0, 0, 0, 0)
    assert (found.elements, found.mismatched_elements, found.shape) == (array.size, 0, array.shape)
    np.testing.assert_equal((found.cosine, found.norm_ratio), (1.0, 1.0) if array.any() else (math.nan, math.nan))


@given(array=ARRAYS, data=st.data())
def test_one_planted_element_is_found_at_its_index(array: np.ndarray, data: st.DataObject) -> None:
    index = data.draw(st.tuples(*(st.integers(0, side - 1) for side in array.shape)))
    planted = array.copy()
    planted[index] = array[index] * np.float32(2.001) + np.float32(1)
    found = compare(array, planted, EXACT, block=data.draw(st.integers(1, 9)))
    assert found.status == "mismatch"
    assert not found.allclose
    assert found.mismatched_elements == 1
    assert found.worst == Worst(index=index, reference=float(array[index]), candidate=float(planted[index]))


@given(
    array=ARRAYS,
    data=st.data(),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    sides=st.sampled_from(["r", "c", "rc"]),
)
def test_nan_and_infinity_never_pass(array: np.ndarray, data: st.DataObject, bad: float, sides: str) -> None:
    index = data.draw(st.tuples(*(st.integers(0, side - 1) for side in array.shape)))
    both = {"r": array.copy(), "c": array.copy()}
    for side in sides:
        both[side][index] = bad
    found = compare(both["r"], both["c"], Tolerance(10.0, 10.0), gradient=False, block=data.draw(st.integers(1, 9)))
    assert found.status == "nonfinite"
    assert not found.allclose
    assert found.mismatched_elements == 1
    assert found.worst is not None
    assert found.worst.index == index
    assert not math.isfinite(found.max_abs_error)
    assert all(map(math.isnan, (found.required.rtol, found.required.atol, found.cosine, found.norm_ratio)))


def test_none_is_absent_on_both_sides_and_missing_on_one() -> None:
    array = np.ones((2, 3), np.float32)
    absent = compare(None, None, AUTO)
    assert (absent.status, absent.elements, absent.shape) == ("absent", 0, ())
    for reference, candidate, side in ((array, None, "candidate"), (None, array, "reference")):
        missing = compare(reference, candidate, AUTO)
        assert missing.status == "missing"
        assert not missing.allclose
        assert (missing.elements, missing.mismatched_elements, missing.shape, missing.dtype) == (
            6,
            6,
            (2, 3),
            "float32",
        )
        assert missing.note == f"None in the {side}"


def test_zero_on_both_sides_is_dead_only_for_gradients() -> None:
    zeros = np.zeros(4, np.float32)
    assert compare(zeros, zeros.copy(), AUTO).status == "dead"
    assert compare(zeros, -zeros, AUTO).status == "dead"
    assert compare(zeros, zeros.copy(), AUTO, gradient=False).status == "exact"
    assert compare(zeros, -zeros, EXACT, gradient=False).status == "close"
    tiny = np.array([0, 0, 0, 1e-45], np.float32)
    assert compare(zeros, tiny, EXACT).status == "mismatch"
    assert compare(tiny, zeros, EXACT).status == "mismatch"


def test_zeros_of_other_sign_are_close_with_error_zero() -> None:
    found = compare(np.array([0.0, 1.0]), np.array([-0.0, 1.0]), EXACT)
    assert (found.status, found.max_abs_error, found.max_ulp_error, found.worst) == ("close", 0.0, 0.0, None)


@pytest.mark.parametrize(
    ("candidate", "note"),
    [
        (np.ones((3, 2), np.float32), "shape (2, 3) against (3, 2)"),
        (np.ones((2, 3), np.float16), "dtype float32 against float16"),
        (np.ones(6, np.float64), "shape (2, 3) against (6,), dtype float32 against float64"),
        (np.ones((1, 2, 3), np.float32), "shape (2, 3) against (1, 2, 3)"),
    ],
)
def test_unequal_shapes_and_dtypes_are_mismatches_before_arithmetic(candidate: np.ndarray, note: str) -> None:
    found = compare(np.ones((2, 3), np.float32), candidate, Tolerance(1.0, 1.0))
    assert (found.status, found.allclose, found.note) == ("mismatch", False, note)
    assert found.mismatched_elements == found.elements == 6
    assert math.isnan(found.max_abs_error)
    assert found.worst is None
    assert (found.rtol, found.atol) == (1.0, 1.0)
    assert math.isnan(compare(np.ones((2, 3), np.float32), candidate, AUTO).atol)  # it comes to no number


def test_an_empty_tensor_proves_nothing() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert compare(empty, empty.copy(), AUTO).status == "dead"


def test_a_dtype_without_a_definition_is_an_error() -> None:
    text = np.array(["a"], object)
    with pytest.raises(RunError, match="Received: object"):
        compare(text, text, AUTO)


# Figures


@given(both=pairs())
def test_absolute_error_is_symmetric(both: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = both
    forth, back = compare(a, b, EXACT), compare(b, a, EXACT)
    assert forth.max_abs_error == back.max_abs_error
    assert forth.max_ulp_error == back.max_ulp_error
    np.testing.assert_equal(forth.cosine, back.cosine)


@given(both=pairs(), rtol=st.sampled_from([0, 1e-6, 1e-3, 0.5]), atol=st.sampled_from([0, 1e-6, 1e-2]))
def test_allclose_is_numpys(both: tuple[np.ndarray, np.ndarray], rtol: float, atol: float) -> None:
    r, c = (side.astype(np.float64) for side in both)
    found = compare(*both, Tolerance(rtol, atol), gradient=False)
    assert found.allclose == np.allclose(c, r, rtol=rtol, atol=atol)
    assert found.mismatched_elements == np.count_nonzero(~np.isclose(c, r, rtol=rtol, atol=atol))
    assert (found.rtol, found.atol) == (rtol, atol)
    assert (found.status == "mismatch") == (not found.allclose)


def test_the_two_tolerances_are_added() -> None:
    r, c = np.array([1.0, 2.0]), np.array([1.5, 2.875])
    assert compare(r, c, Tolerance(0.25, 0.25)).mismatched_elements == 1
    assert compare(r, c, Tolerance(0.25, 0.375)).allclose  # 0.875 is as much as is allowed
    assert compare(r, c, EXACT).required.rtol == 0.5


@given(both=pairs())
def test_figures_are_their_formulas(both: tuple[np.ndarray, np.ndarray]) -> None:
    r, c = (side.astype(np.float64) for side in both)
    assume(r.any() and c.any())
    found = compare(*both, EXACT)
    assert found.max_abs_error == np.abs(c - r).max()
    assert found.max_rel_error == np.abs(c - r).max() / np.abs(r).max()
    assert found.max_abs_reference == np.abs(r).max()
    norms = np.linalg.norm(r.ravel()), np.linalg.norm(c.ravel())
    assert found.norm_ratio == pytest.approx(norms[1] / norms[0], rel=1e-12)
    assert found.cosine == pytest.approx(np.vdot(r, c) / (norms[0] * norms[1]), abs=1e-12)


@given(both=pairs())
def test_required_tolerances_pass_and_a_little_less_fails(both: tuple[np.ndarray, np.ndarray]) -> None:
    r, c = both
    found = compare(r, c, EXACT)
    assume(found.max_abs_error > 0)
    assert compare(r, c, Tolerance(0.0, found.required.atol)).allclose
    assert not compare(r, c, Tolerance(0.0, 0.999 * found.required.atol)).allclose
    if ((r == 0) & (c != 0)).any():
        assert math.isnan(found.required.rtol)
        assert not compare(r, c, Tolerance(1e30, 0.0)).allclose
    else:
        assert compare(r, c, Tolerance(found.required.rtol, 0.0)).allclose
        assert not compare(r, c, Tolerance(0.999 * found.required.rtol, 0.0)).allclose


@given(
    r=hnp.arrays(np.float64, 8, elements=st.floats(-1e300, 1e300)),
    c=hnp.arrays(np.float64, 8, elements=st.floats(-1e300, 1e300)),
)
def test_required_rtol_passes_at_any_scale(r: np.ndarray, c: np.ndarray) -> None:
    needed = compare(r, c, EXACT).required.rtol
    assume(not math.isnan(needed))
    assert compare(r, c, Tolerance(needed, 0.0), gradient=False).allclose


def test_required_rtol_beyond_the_largest_number_does_not_exist() -> None:
    assert math.isnan(compare(np.array([1e-231, 0.0]), np.array([1e99, 0.0]), EXACT).required.rtol)


def test_relative_error_of_an_all_zero_side() -> None:
    zeros, ones = np.zeros(3), np.ones(3)
    against_zero = compare(zeros, ones, EXACT)
    assert (against_zero.max_rel_error, against_zero.norm_ratio) == (math.inf, math.inf)
    assert math.isnan(against_zero.cosine)
    zero_against = compare(ones, zeros, EXACT)
    assert (zero_against.max_rel_error, zero_against.norm_ratio) == (1.0, 0.0)
    assert compare(zeros, zeros, EXACT).max_rel_error == compare(zeros, -zeros, EXACT).max_rel_error == 0.0


def test_direction_and_length() -> None:
    r = np.array([3.0, 4.0])
    assert compare(r, -2 * r, EXACT).cosine == -1.0
    assert compare(r, -2 * r, EXACT).norm_ratio == 2.0
    assert compare(r, np.array([-4.0, 3.0]), EXACT).cosine == 0.0
    six = np.array([6.0, 6.0])  # and one of them a little more: rounding makes 1 + 2**-52 of the cosine
    assert compare(six, np.array([np.nextafter(6.0, 7.0), 6.0]), EXACT).cosine == 1.0


@pytest.mark.parametrize("scale", [1e-200, 1e200, 5e-324])
def test_direction_and_length_at_the_ends_of_the_range(scale: float) -> None:
    r, c = np.array([2.0, 2.0]) * scale, np.array([4.0, 4.0]) * scale
    found = compare(r, c, EXACT)
    assert (found.cosine, found.norm_ratio) == (pytest.approx(1.0), pytest.approx(2.0))


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_dtype(dtype: Any) -> None:
    r = np.array([[1, -2], [0.5, 4]]).astype(dtype)
    assert compare(r, r.copy(), AUTO).status == "exact"
    c = r.copy()
    c[1, 0] = np.nextafter(r[1, 0], np.array(9).astype(dtype))
    step = float(c[1, 0]) - 0.5
    found = compare(r, c, EXACT)
    assert (found.status, found.max_ulp_error, found.max_abs_error) == ("mismatch", 1.0, step)
    assert found.worst == Worst(index=(1, 0), reference=0.5, candidate=0.5 + step)
    assert found.dtype == np.dtype(dtype).name
    assert compare(r, c, AUTO).status == "close"
    c[0, 1] = np.nan
    assert compare(r, c, AUTO).status == "nonfinite"


def test_ulp_to_infinity_counts_and_to_nan_does_not() -> None:
    top = np.array([np.finfo(np.float32).max])
    assert compare(top, np.array([np.inf], np.float32), AUTO).max_ulp_error == 1.0
    assert math.isnan(compare(top, np.array([np.nan], np.float32), AUTO).max_ulp_error)


def test_an_overflowing_difference_is_a_mismatch() -> None:
    found = compare(np.array([1.5e308]), np.array([-1.5e308]), AUTO)
    assert (found.status, found.max_abs_error) == ("mismatch", math.inf)
    assert math.isnan(found.required.atol)


@pytest.mark.parametrize(("r", "c"), [(1e308, np.inf), (np.inf, 1e308)])
def test_infinity_fails_even_a_tolerance_that_overflows(r: float, c: float) -> None:
    found = compare(np.array([r]), np.array([c]), Tolerance(10.0, 0.0))
    assert (found.status, found.allclose, found.mismatched_elements) == ("nonfinite", False, 1)


def test_a_nan_is_worse_than_an_infinity_is_worse_than_a_number() -> None:
    r, c = np.zeros(9), np.arange(9.0)
    c[3] = np.inf
    assert compare(r, c, AUTO, block=2).worst == Worst(index=(3,), reference=0.0, candidate=math.inf)
    c[6] = np.nan
    worst = compare(r, c, AUTO, block=2).worst
    assert worst is not None
    assert worst.index == (6,)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint8])
def test_integers_are_exact(dtype: Any) -> None:
    r = np.array([5, 100, 7], dtype)
    c = np.array([5, 99, 8], dtype)
    assert compare(r, r.copy(), AUTO, gradient=False).status == "exact"
    found = compare(r, c, Tolerance(1.0, 1.0), gradient=False)
    assert (found.status, found.mismatched_elements, found.max_abs_error, found.max_ulp_error) == ("mismatch", 2, 1, 1)
    assert found.worst == Worst(index=(1,), reference=100.0, candidate=99.0)
    assert (found.rtol, found.atol) == (0.0, 0.0)


def test_large_integers_that_float64_cannot_tell_apart() -> None:
    assert compare(np.array([2**60]), np.array([2**60 + 1]), AUTO).status == "mismatch"


def test_bools_are_exact() -> None:
    found = compare(np.array([True, False]), np.array([True, True]), AUTO, gradient=False)
    assert (found.status, found.mismatched_elements, found.max_abs_error) == ("mismatch", 1, 1.0)


def test_complex_numbers_are_compared_by_their_parts() -> None:
    r = np.array([1 + 2j, 3 - 4j], np.complex64)
    assert compare(r, r.copy(), AUTO).status == "exact"
    found = compare(r, r + np.complex64(1j) * np.array([0, 1], np.float32), AUTO)
    assert (found.status, found.mismatched_elements, found.shape, found.dtype) == ("mismatch", 1, (2,), "complex64")
    assert found.worst == Worst(index=(1, 1), reference=-4.0, candidate=-3.0)
    assert (found.elements, found.note) == (4, "complex: real and imaginary parts, as a last axis")
    assert compare(r.real, r.real, AUTO).note is None


def test_a_scalar_as_numpy_gives_it() -> None:
    assert compare(np.float32(1.5), np.float32(1.5), AUTO, gradient=False).status == "exact"
    found = compare(np.float32(1.5), np.float32(2.5), AUTO, gradient=False)
    assert found.worst == Worst(index=(), reference=1.5, candidate=2.5)


# Scale-aware atol


def test_tiny_gradients_do_not_pass_by_an_absolute_constant() -> None:
    tiny = np.full(100, 1e-12, np.float32)
    assert compare(tiny, tiny * np.float32(2.001), AUTO).status == "mismatch"
    assert compare(tiny, tiny * np.float32(1 + 1e-6), AUTO).status == "close"


def test_one_element_near_zero_in_a_large_tensor_fails_nothing() -> None:
    r = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    r[17] = 1e-9
    c = r.copy()
    c[17] = -3e-9
    found = compare(r, c, AUTO)
    assert found.status == "close"
    assert found.required.rtol == pytest.approx(4.0)
    assert compare(r, c, replace(AUTO, atol=0.0)).status == "mismatch"


def test_automatic_atol_ignores_infinity() -> None:
    found = compare(np.array([np.inf, 1.0]), np.array([np.inf, 2.0]), AUTO)
    assert found.atol == 16 * 2.0**-52
    assert found.mismatched_elements == 2


# Blocks


@given(both=pairs(), block=st.integers(1, 70), bad=st.sampled_from([None, np.nan, np.inf]))
def test_block_boundaries_change_no_figure(both: tuple[np.ndarray, np.ndarray], block: int, bad: float | None) -> None:
    r, c = both
    if bad is not None:
        c = c.copy()
        c.flat[c.size // 2] = bad
    whole, parts = compare(r, c, AUTO), compare(r, c, AUTO, block=block)
    np.testing.assert_equal(finite_figures(parts), finite_figures(whole))
    assert parts.cosine == pytest.approx(whole.cosine, abs=1e-12, nan_ok=True)
    for figure in ("norm_ratio", "reference_norm", "candidate_norm"):
        assert getattr(parts, figure) == pytest.approx(getattr(whole, figure), rel=1e-12, nan_ok=True)


@given(both=pairs())
def test_memory_layout_changes_no_figure(both: tuple[np.ndarray, np.ndarray]) -> None:
    r, c = both
    straight, fortran = compare(r, c, AUTO, block=5), compare(np.array(r, order="F"), c, AUTO, block=5)
    np.testing.assert_equal(asdict(fortran), asdict(straight))


@pytest.mark.parametrize("change", [0.0, 1e-7])
def test_extra_memory_is_bounded(change: float) -> None:
    r = np.ones(4_000_000, np.float32)
    c = r + np.float32(change)
    tracemalloc.start()
    try:
        found = compare(r, c, AUTO)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.allclose
    assert peak < r.nbytes / 8


def test_arguments_are_left_as_they_were() -> None:
    r, c = np.array([1.0, 2.0]), np.array([1.5, -2.0])
    r.flags.writeable = c.flags.writeable = False
    assert compare(r, c, AUTO).status == "mismatch"
    assert (r.tolist(), c.tolist()) == ([1.0, 2.0], [1.5, -2.0])
