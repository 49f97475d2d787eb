"""Tensors that the loss does not depend on: whether their gradient is None or zero makes no difference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.tape import whole_loss
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.tensors import is_differentiable
from gradcheck.numerics import PRECISIONS, Tolerance, compare, is_zero

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.results.tensor import Comparison

#: How far a tensor is moved to see whether the loss moves, relative to one and its size: a little, and beyond a kink.
_STEPS = (1e-2, -1.0, 1.0, -10.0, 10.0)
#: The change of the loss, in eps, that is rounding.
_ROUNDING = 4
_SAID = "and zero on the other side: moving it does not move the loss, so that both say the same"


def zero_as_none(
    problem: Problem,
    compared: Mapping[TensorKey, Comparison],
    expected: Mapping[TensorKey, Any],
    found: Mapping[TensorKey, Any],
    *,
    apart: Collection[TensorKey] = (),
) -> dict[TensorKey, Comparison]:
    """Return `compared` with `dead` for a gradient that is None on one side and zero on the other, and truly zero.

    A loss that differentiates the model does not depend on a bias at the end, say. One tape then has no path to it, and
    another has one that comes to nothing. That it is nothing is measured, by finite differences of the loss. Tensors
    `apart` are compared with something other than the gradient.
    """
    result = dict(compared)
    for key, comparison in compared.items():
        if comparison.status != "missing" or key.kind not in ("weight", "input") or key in apart:
            continue
        sides = [as_array(side[key]) for side in (expected, found)]
        if all(side is None or is_zero(side) for side in sides) and not _moves_the_loss(problem, key):
            zero = next(side for side in sides if side is not None)
            dead = compare(zero, zero, Tolerance(rtol=comparison.rtol, atol=0.0))
            result[key] = replace(dead, note=f"{comparison.note}, {_SAID}")
    return result


def _moves_the_loss(problem: Problem, key: TensorKey) -> bool:
    """Whether the loss changes with the tensor `key`, as far as a few steps in random directions show."""
    known: dict[TensorKey, bool] = problem.made.setdefault("moves_the_loss", {})
    if key not in known:
        rng = np.random.default_rng([problem.seed, *key.path.encode()])
        here = _loss(problem, key, rng, 0.0)
        eps = _ROUNDING * PRECISIONS[compute_dtype(problem.precision)].eps * abs(here)
        known[key] = not all(abs(_loss(problem, key, rng, step) - here) <= eps for step in _STEPS)
    return known[key]


def _loss(problem: Problem, key: TensorKey, rng: np.random.Generator, step: float) -> float:
    """Return the loss with the tensor moved by `step`, from the snapshot and back to it."""

    def moved(tensor: Any) -> Any:
        shape = tuple(tensor.shape)
        direction = rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)
        return tensor + tf.cast(step * direction, tensor.dtype) * (1 + tf.abs(tensor))

    with problem.state.preserved():
        tensors = batch_tensors(problem)
        for weight in problem.weights:
            if weight.key == key:
                weight.variable.assign(moved(weight.variable.value))
        x = [moved(t) if problem.input_key(i) == key and is_differentiable(t) else t for i, t in enumerate(tensors.x)]
        return float(whole_loss(problem, tensors._replace(x=x)).loss)
