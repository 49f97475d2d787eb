"""What a training step did to the weights, in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradcheck.diagnose.evidence.movement import movement_of, rate_of_descent
from gradcheck.problem.problem import TensorKey

START = {"a": [1.0, 2.0], "b": [3.0, 4.0]}
MOVED = {"a": [1.5, 2.25], "b": [3.0, 5.0]}
ITERATION = TensorKey("optimizer", "adam/iteration", "value")


def step(weights: dict[str, Any], count: int) -> dict[TensorKey, Any]:
    found = {TensorKey("weight", path, "value"): np.asarray(value, np.float32) for path, value in weights.items()}
    return {**found, ITERATION: np.asarray(count)}


def said(found: dict[str, Any], count: int = 1) -> str:
    where = {ITERATION: SimpleNamespace(name="iteration")}
    training: Any = SimpleNamespace(start=step(START, 0), steps=[step(MOVED, 1)], where=where)
    trained: Any = SimpleNamespace(observed=[step(found, count)])
    return movement_of(training, trained, 1)


@pytest.mark.parametrize(
    ("found", "count", "expected"),
    [
        (MOVED, 1, ""),
        (START, 1, "no weight moved: nothing was applied to the model's own variables"),
        (START, 0, "the optimizer counts 0 updates after step 1, and should count 1; no weight moved: nothing was"),
        ({**MOVED, "b": START["b"]}, 1, "1 of 2 weights did not move: b"),
        ({"a": [2.0, 2.5], "b": [3.0, 6.0]}, 2, "the optimizer counts 2 updates after step 1, and should count 1"),
        ({"a": [2.0, 2.5], "b": [3.0, 6.0]}, 1, "every weight moved 2 times as far as it should"),
        ({"a": [0.5, 1.75], "b": [3.0, 3.0]}, 1, "every weight moved -1 times as far as it should"),
        ({"a": [2.0, 2.5], "b": [3.0, 7.0]}, 1, ""),
        ({"a": [2.0, 2.0], "b": [3.0, 6.0]}, 1, ""),
    ],
)
def test_what_a_step_did(found: dict[str, Any], count: int, expected: str) -> None:
    text = said(found, count)
    assert text.startswith(expected)
    assert bool(text) == bool(expected)


@pytest.mark.parametrize(
    ("gradients", "expected"),
    [
        ({"a": [-5.0, -2.5], "b": [0.0, -10.0]}, 0.1),
        ({"a": [-5.0, -2.5], "b": [0.0, -5.0]}, None),
        ({"a": [-5.0, -2.5], "b": None}, None),
    ],
)
def test_the_rate_of_descent(gradients: dict[str, Any], expected: float | None) -> None:
    weights = [SimpleNamespace(path=path, key=TensorKey("weight", path)) for path in gradients]
    of_step = {w.key: None if gradients[w.path] is None else np.asarray(gradients[w.path]) for w in weights}
    training: Any = SimpleNamespace(start=step(START, 0), steps=[of_step], problem=SimpleNamespace(weights=weights))
    assert rate_of_descent(training, step(MOVED, 0)) == (expected and pytest.approx(expected))
    still = {TensorKey("weight", path): None for path in START}
    training.steps = [still]
    assert rate_of_descent(training, step(START, 0)) is None
