from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck.diagnose.evidence.observed import EXPLAINED, same
from gradcheck.numerics import TolerancePolicy

TOLERANCE = TolerancePolicy().for_tensor("a/kernel", "float32", "float32")
RIGHT = np.array([1.0, -2.0, 3.0], np.float32)
WRONG = np.array([1.5, -2.0, 2.0], np.float32)
NEAR = np.array([1e-4, 0, 0], np.float32)


def equal(here: Any, there: Any, *, wrong: bool = True, expected: Any = RIGHT, floor: float = 0.0) -> bool:
    return same(here, there, expected, TOLERANCE, wrong=wrong, floor=floor)


def test_what_a_mistake_gives_explains_what_was_observed() -> None:
    assert equal(WRONG, WRONG.copy())
    assert equal(WRONG, WRONG * np.float32(1 + 1e-6))


@pytest.mark.parametrize("there", [RIGHT, WRONG[::-1], 2 * WRONG, WRONG + 10 * NEAR, WRONG[:2], None])
def test_another_gradient_explains_nothing(there: Any) -> None:
    assert not equal(WRONG, there)


def test_a_small_mistake_is_not_explained_by_the_right_gradient() -> None:
    small = RIGHT * np.float32(1 + 2e-5)
    assert not equal(small, RIGHT)
    assert equal(small, small + np.float32(EXPLAINED / 4) * (small - RIGHT))


def test_none_and_zeros_are_the_same_mistake() -> None:
    zeros = np.zeros(3, np.float32)
    assert equal(None, zeros)
    assert equal(zeros, None)
    assert equal(None, None)
    assert not equal(RIGHT, None)


def test_what_is_right_must_be_right_in_the_replay_too() -> None:
    assert equal(RIGHT, RIGHT.copy(), wrong=False)
    assert not equal(RIGHT, WRONG, wrong=False)


def test_rounding_may_be_as_large_as_the_noise_floor_where_it_is_right() -> None:
    assert not equal(RIGHT, RIGHT + NEAR, wrong=False)
    assert equal(RIGHT, RIGHT + NEAR, wrong=False, floor=2e-4)
    assert not equal(WRONG, WRONG + 10 * NEAR, floor=1.0)


def test_complex_gradients_are_explained_too() -> None:
    wrong, right = WRONG.astype(np.complex64) * (1 + 1j), RIGHT.astype(np.complex64)
    assert equal(wrong, wrong.copy(), expected=right)
    assert not equal(wrong, wrong.conj(), expected=right)


def test_what_is_not_finite_explains_nothing() -> None:
    broken = np.array([np.nan, 1.0, 1.0], np.float32)
    assert not equal(broken, broken)
    assert not equal(RIGHT, broken, wrong=False)
    assert not equal(np.full(3, np.nan, np.float32), None)
    assert not equal(None, np.full(3, np.inf, np.float32))


def test_another_dtype_explains_nothing() -> None:
    assert not equal(WRONG, WRONG.astype(np.float64))
