"""What error bars decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck.numerics import Tolerance, compare, decide, too_coarse

REFERENCE = np.array([1.0, -2.0, 0.5])


TOLERANCE = Tolerance(rtol=1e-5, atol=None)


def status(
    candidate: np.ndarray,
    bar: Any,
    *,
    reference: np.ndarray = REFERENCE,
    scale: float = 2.0,
    tolerance: Tolerance = TOLERANCE,
) -> str:
    found = compare(reference, candidate, tolerance)
    return decide(found, reference, candidate, np.broadcast_to(bar, reference.shape), scale).status


@pytest.mark.parametrize(
    ("error", "bar", "expected"),
    [
        (0.0, 1e-9, "exact"),
        (1e-8, 1e-9, "close"),  # within the tolerance
        (1e-4, 1e-3, "close"),  # within the bar, and the bar is fine
        (1e-4, 1e-5, "mismatch"),
        (1e-2, 1e-1, "inconclusive"),  # within a bar that is too coarse
        (1e-4, 2e-3, "close"),  # as coarse as a bar may be beside the largest element, -2
        (1e-4, 2.001e-3, "inconclusive"),
        (0.0, 1e-1, "inconclusive"),  # equal by luck
        (1e-8, 1e-1, "inconclusive"),
        (1e-4, np.nan, "inconclusive"),
        (1e-4, [1e-3, 1e-3, np.inf], "inconclusive"),
        (0.0, np.inf, "inconclusive"),
        (1e-1, 1e-2, "mismatch"),  # beyond even a coarse bar
    ],
)
def test_the_bar_decides(error: float, bar: Any, expected: str) -> None:
    assert status(REFERENCE + np.array([0, error, 0]), bar) == expected
    assert status(REFERENCE - np.array([0, error, 0]), bar) == expected


@pytest.mark.parametrize(
    ("error", "rtol", "atol", "bar", "expected"),
    [
        (1e-4, 0.0, 1e-3, 1e-9, "close"),
        (3e-3, 1e-3, 0.0, 2e-3, "mismatch"),  # more than either allows, if not more than both together
        (3.0, 1.0, 0.0, 1e-9, "mismatch"),  # relative to the reference, not to the candidate
    ],
)
def test_tolerance_or_bar(error: float, rtol: float, atol: float, bar: float, expected: str) -> None:
    assert status(REFERENCE - np.array([0, error, 0]), bar, tolerance=Tolerance(rtol, atol)) == expected


def test_one_wrong_element_outweighs_an_undecided_one() -> None:
    candidate = REFERENCE + np.array([0.5, 0.0, 0.1])
    bars = np.array([np.inf, 1e-9, 1e-9])
    found = compare(REFERENCE, candidate, Tolerance(rtol=1e-5, atol=None))
    assert decide(found, REFERENCE, candidate, bars, 2.0).status == "mismatch"


def test_zero_but_for_rounding_is_close_beside_the_rest_of_the_model() -> None:
    tiny = np.array([1e-17, -3e-18])
    assert status(tiny + 1e-11, 1e-10, reference=tiny, scale=1.0) == "close"
    assert status(tiny + 1e-11, 1e-10, reference=tiny, scale=0.0) == "inconclusive"
    assert status(tiny + 1e-3, 1e-10, reference=tiny, scale=1.0) == "mismatch"


@pytest.mark.parametrize(
    ("largest", "bar", "coarse"),
    [(1e-12, 1e-6, False), (1e-12, 1.1e-6, True), (1.1e-12, 1e-14, True), (1.1e-12, 1e-15, False), (0.0, 1e-6, False)],
)
def test_a_tensor_counts_as_zero_from_a_millionth_of_a_millionth_of_the_largest(
    largest: float, bar: float, coarse: bool
) -> None:
    assert too_coarse(np.array([-largest, 0.0]), np.array([bar, bar]), 1.0).tolist() == [coarse, coarse]


def test_zero_within_the_bar_is_dead_and_proves_nothing() -> None:
    zero = np.zeros(2)
    assert status(zero, 0.0, reference=zero, scale=1.0) == "dead"
    assert status(zero + 1e-12, 1e-10, reference=zero, scale=1.0) == "dead"
    assert status(zero, 1.0, reference=zero, scale=1.0) == "inconclusive"
    assert status(zero, 0.0, reference=zero, scale=0.0) == "dead"


def test_nan_and_shapes_are_not_excused() -> None:
    assert status(np.array([1.0, np.nan, 0.5]), np.inf) == "nonfinite"
    found = compare(REFERENCE, np.zeros(2), Tolerance(rtol=1e-5, atol=None))
    assert decide(found, REFERENCE, np.zeros(2), np.full(2, np.inf), 1.0).status == "mismatch"
