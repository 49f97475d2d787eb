"""The gradients of weights are handed over once, complete, and what is returned is kept in their place."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.comparing.keys import as_array
from gradcheck.config.load import load_given
from gradcheck.config.sections.methods import MethodOptions
from gradcheck.handoff.arrivals import Agreeing
from gradcheck.methods import METHODS
from gradcheck.numerics import EXACT, compare
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.problem.problem import Problem, TensorKey

SHARED: dict[str, Any] = {
    "model": {
        "input": {"shape": [4]},
        "layers": [
            {"Dense": {"units": 4, "activation": "tanh", "kernel_regularizer": "l2", "name": "shared"}},
            {"Dense": {"units": 4, "activation": "tanh", "name": "own"}},
            {"call": {"layer": "shared", "inputs": ["own"], "name": "again"}},
            {"Dense": {"units": 2, "name": "out"}},
        ],
    },
    "split": {"every": "layer"},
    "data": {"batch_size": 4},
}


@contextmanager
def prepared(**more: Any) -> Iterator[Problem]:
    config = load_given({**SHARED, **more}, {}).config
    with session(config):
        yield prepare(config, Path())


@pytest.mark.parametrize("more", [{}, {"microbatches": 2}, {"microbatches": 2, "schedule": "1f1b"}])
@pytest.mark.parametrize("method", ["vjp", "recompute"])
def test_each_gradient_is_handed_over_once_and_complete(method: str, more: dict[str, Any]) -> None:
    arrived: list[tuple[TensorKey, Any]] = []

    def on_arrival(key: TensorKey, gradient: Any) -> Any:
        arrived.append((key, as_array(gradient)))
        return Agreeing(comparison=compare(None, None, EXACT), expected=lambda: "the reference's")

    with prepared(**more) as problem:
        right = METHODS[method](problem, MethodOptions()).tensors
        kept = METHODS[method](replace(problem, on_arrival=on_arrival), MethodOptions()).tensors
        assert sorted(key for key, _ in arrived) == sorted(weight.key for weight in problem.weights)
        for key, gradient in arrived:
            np.testing.assert_array_equal(gradient, as_array(right[key]))
            assert isinstance(kept[key], Agreeing)
        assert not any(isinstance(tensor, Agreeing) for key, tensor in kept.items() if key.kind != "weight")


def test_what_comes_after_all_is_added_to_the_reference() -> None:
    """As from code in an earlier segment that takes the weight of a later one, behind the back of its layers."""
    with prepared() as problem:
        right = METHODS["vjp"](problem, MethodOptions()).tensors
        shared = next(weight for weight in problem.weights if weight.path == "shared/kernel")
        first_part: list[Any] = []

        def on_arrival(key: TensorKey, gradient: Any) -> Any:
            if key != shared.key or first_part:
                return gradient
            first_part.append(gradient)
            return Agreeing(comparison=compare(None, None, EXACT), expected=lambda: gradient)

        weights = tuple(replace(w, segments=w.segments[-1:]) if w is shared else w for w in problem.weights)
        found = METHODS["vjp"](replace(problem, weights=weights, on_arrival=on_arrival), MethodOptions()).tensors
        np.testing.assert_array_equal(as_array(found[shared.key]), as_array(right[shared.key]))
        assert np.any(as_array(first_part[0]) != as_array(right[shared.key]))
