"""What error bars decide."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.numerics import Tolerance, compare, decide

REFERENCE = np.array([1.0, -2.0, 0.5])


def status(candidate: np.ndarray, bar: float, *, reference: np.ndarray = REFERENCE, scale: float = 2.0) -> str:
    found = compare(reference, candidate, Tolerance(rtol=1e-5, atol=None))
    return decide(found, reference, candidate, np.full(reference.shape, bar), scale).status


@pytest.mark.parametrize(
    ("error", "bar", "expected"),
    [
        (0.0, 1e-9, "exact"),
        (1e-8, 1e-9, "close"),  # within the tolerance
        (1e-4, 1e-3, "close"),  # within the bar, and the bar is fine
        (1e-4, 1e-5, "mismatch"),
        (1e-2, 1e-1, "inconclusive"),  # within a bar that is too coarse
        (0.0, 1e-1, "inconclusive"),  # equal by luck
        (0.0, np.inf, "inconclusive"),
        (1e-1, 1e-2, "mismatch"),  # beyond even a coarse bar
    ],
)
def test_the_bar_decides(error: float, bar: float, expected: str) -> None:
    assert status(REFERENCE + np.array([0, error, 0]), bar) == expected


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


def test_zero_within_the_bar_is_dead_and_proves_nothing() -> None:
    zero = np.zeros(2)
    assert status(zero, 0.0, reference=zero, scale=1.0) == "dead"
    assert status(zero + 1e-12, 1e-10, reference=zero, scale=1.0) == "dead"
    assert status(zero, 1.0, reference=zero, scale=1.0) == "inconclusive"


def test_nan_and_shapes_are_not_excused() -> None:
    assert status(np.array([1.0, np.nan, 0.5]), np.inf) == "nonfinite"
    found = compare(REFERENCE, np.zeros(2), Tolerance(rtol=1e-5, atol=None))
    assert decide(found, REFERENCE, np.zeros(2), np.full(2, np.inf), 1.0).status == "mismatch"
