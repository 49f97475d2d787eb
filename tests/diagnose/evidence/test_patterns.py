from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck.diagnose.evidence.patterns import constant_factor, groups, permutation, transposed
from gradcheck.problem.problem import TensorKey

RNG = np.random.default_rng(0)
KERNEL, OTHER, BIAS = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3)), RNG.normal(size=3)
RIGHT = {"a/kernel": KERNEL, "b/kernel": OTHER, "b/bias": BIAS}


def key(path: str) -> TensorKey:
    return TensorKey("weight", path)


@pytest.mark.parametrize("factor", [3.0, 0.5, -1.0, 1024.0])
def test_a_factor_over_all_wrong_gradients_is_found(mismatch: Any, factor: float) -> None:
    found = mismatch(RIGHT, {"a/kernel": factor * KERNEL, "b/bias": factor * BIAS})
    assert constant_factor(found) == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"a/kernel": 2 * KERNEL, "b/bias": 3 * BIAS},
        {"a/kernel": 2 * KERNEL + 0.01 * OTHER},
        {"a/kernel": 2 * KERNEL, "b/bias": None},
        {"a/kernel": 2 * KERNEL, "b/bias": 2 * BIAS[:2]},
        {"a/kernel": 0 * KERNEL},
        {},
    ],
)
def test_what_is_no_factor_is_not_called_one(mismatch: Any, wrong: dict[str, Any]) -> None:
    assert constant_factor(mismatch(RIGHT, wrong)) is None


def test_a_dead_gradient_has_no_factor(mismatch: Any) -> None:
    assert constant_factor(mismatch({"a/kernel": 0 * KERNEL}, {"a/kernel": KERNEL})) is None


def test_what_wrong_gradients_are_by_groups(mismatch: Any) -> None:
    right = {**RIGHT, "c/kernel": KERNEL, "c/bias": BIAS, "d/bias": BIAS, "e/bias": BIAS}
    wrong = {
        "a/kernel": -KERNEL, "b/kernel": -OTHER, "b/bias": None, "c/kernel": KERNEL + 0.01 * OTHER, "c/bias": 0 * BIAS,
        "d/bias": BIAS[None], "e/bias": np.nan * BIAS,
    }  # fmt: skip
    assert groups(mismatch(right, wrong)) == {
        "-1 times the reference's": ["a/kernel", "b/kernel"],
        "None": ["b/bias"],
        "": ["c/kernel", "e/bias"],
        "zero": ["c/bias"],
        "the reference's in the shape (1, 3)": ["d/bias"],
    }


def test_exchanged_gradients_are_found(mismatch: Any) -> None:
    found = mismatch(RIGHT, {"a/kernel": OTHER, "b/kernel": KERNEL})
    assert permutation(found) == {key("a/kernel"): key("b/kernel"), key("b/kernel"): key("a/kernel")}


def test_a_gradient_of_nobody_is_no_permutation(mismatch: Any) -> None:
    assert permutation(mismatch(RIGHT, {"a/kernel": OTHER, "b/kernel": KERNEL + 0.01 * OTHER})) is None
    assert permutation(mismatch(RIGHT, {"a/kernel": None})) is None
    assert permutation(mismatch(RIGHT, {})) is None


def test_two_dead_gradients_are_not_exchanged(mismatch: Any) -> None:
    dead = {"a/bias": 0 * BIAS, "b/bias": BIAS}
    assert permutation(mismatch(dead, {"b/bias": 0 * BIAS})) is None


def test_a_transposed_gradient_is_found(mismatch: Any) -> None:
    assert list(transposed(mismatch(RIGHT, {"a/kernel": KERNEL.T, "b/kernel": 2 * OTHER}))) == [key("a/kernel")]


def test_a_transposed_gradient_of_another_shape_is_found(mismatch: Any) -> None:
    wide = RNG.normal(size=(2, 3))
    assert list(transposed(mismatch({"a/kernel": wide}, {"a/kernel": wide.T}))) == [key("a/kernel")]


def test_vectors_and_missing_gradients_are_not_transposed(mismatch: Any) -> None:
    assert list(transposed(mismatch(RIGHT, {"a/kernel": None, "b/bias": BIAS[::-1]}))) == []


def test_gradients_that_are_alike_are_not_exchanged(mismatch: Any) -> None:
    """Two that hardly differ: what is wrong by as much is as near to the one as to the other."""
    noise = 5e-5 * RNG.normal(size=3)
    right = {"a/bias": BIAS, "b/bias": BIAS * (1 + 1e-5)}
    assert permutation(mismatch(right, {"a/bias": BIAS + noise})) is None
    assert permutation(mismatch({"a/bias": BIAS, "b/bias": 2 * BIAS}, {"a/bias": 2 * BIAS})) is not None


def test_a_symmetric_gradient_is_not_called_transposed(mismatch: Any) -> None:
    symmetric = KERNEL + KERNEL.T
    assert list(transposed(mismatch({"a/kernel": symmetric}, {"a/kernel": symmetric + 5e-5 * OTHER}))) == []
    assert list(transposed(mismatch({"a/kernel": KERNEL}, {"a/kernel": KERNEL.T}))) == [key("a/kernel")]
