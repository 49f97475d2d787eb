from __future__ import annotations

import math
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from gradcheck.numerics import (
    EXACT,
    NOISE_FACTOR,
    SparseRows,
    Tolerance,
    compare,
    excuse,
    median_relative_floor,
    movement,
)


def test_movement_is_the_largest_absolute_difference() -> None:
    r = np.zeros((3, 4), np.float32)
    moved = r.copy()
    moved[1, 2], moved[2, 3] = 0.25, -0.5
    assert movement(r, moved) == 0.5
    assert movement(moved, r, block=5) == movement(moved[::-1], r, block=5) == 0.5
    assert movement(r, r) == 0.0
    assert movement(r.astype(ml_dtypes.bfloat16), moved.astype(ml_dtypes.bfloat16)) == 0.5
    assert movement(r.astype(np.complex64), 1j * moved) == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_movement_does_not_count_what_is_not_finite(bad: float) -> None:
    r, moved = np.array([1.0, 2.0, 3.0]), np.array([1.5, bad, 3.0])
    assert movement(r, moved) == 0.5
    assert movement(moved, r) == 0.5
    assert movement(moved, moved) == 0.0


def test_movement_of_none_and_of_nothing_is_zero() -> None:
    r = np.ones(3)
    assert movement(None, r) == movement(r, None) == movement(None, None) == movement(np.empty(0), np.empty(0)) == 0.0


def test_movement_of_sparse_tensors() -> None:
    a = SparseRows(np.array([1, 4, 4]), np.array([[1.0], [1.0], [1.0]]), (9, 1))
    b = SparseRows(np.array([4, 1, 7]), np.array([[2.25], [1.0], [0.125]]), (9, 1))
    assert movement(a, b) == 0.25
    assert movement(a.dense(), b) == 0.25


def test_movement_between_other_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: \(2,\), \(3,\)"):
        movement(np.ones(2), np.ones(3))


def test_the_factor_is_the_contract() -> None:
    assert NOISE_FACTOR == 4


def test_a_mismatch_within_the_noise_is_excused_and_allclose_stays_literal() -> None:
    found = compare(np.array([0.0, 1.0]), np.array([1e-3, 1.0]), EXACT)
    floor = 1e-3 / NOISE_FACTOR
    excused = excuse(found, floor)
    assert (excused.status, excused.allclose, excused.noise_floor) == ("close", False, floor)
    assert replace(excused, status="mismatch", noise_floor=None) == found


def test_a_mismatch_beyond_the_noise_stands_and_shows_the_floor() -> None:
    found = compare(np.array([0.0, 1.0]), np.array([1e-3, 1.0]), EXACT)
    floor = 0.999e-3 / NOISE_FACTOR
    assert excuse(found, floor) == replace(found, noise_floor=floor)
    assert excuse(found, 0.0).status == "mismatch"


@pytest.mark.parametrize(
    ("reference", "candidate", "status"),
    [
        (np.ones(2), np.ones(3), "mismatch"),
        (np.ones(2), np.ones(2, np.float32), "mismatch"),
        (np.ones(2), None, "missing"),
        (None, None, "absent"),
        (np.ones(2), np.array([1.0, np.nan]), "nonfinite"),
        (np.array([np.inf]), np.array([1.0]), "nonfinite"),
        (np.array([1.5e308]), np.array([-1.5e308]), "mismatch"),
        (np.zeros(2), np.zeros(2), "dead"),
        (np.ones(2), np.ones(2), "exact"),
    ],
)
def test_noise_excuses_nothing_else(reference: np.ndarray | None, candidate: np.ndarray | None, status: str) -> None:
    excused = excuse(compare(reference, candidate, Tolerance(0.0, 0.0)), math.inf)
    assert (excused.status, excused.noise_floor) == (status, math.inf)


def test_median_relative_floor() -> None:
    assert median_relative_floor([(1.0, 10.0), (3.0, 10.0), (1.0, 1.0)]) == 0.3
    assert median_relative_floor([(1.0, 0.0), (1.0, math.nan), (1.0, math.inf), (1.0, 4.0)]) == 0.25
    assert median_relative_floor([]) == 0.0
