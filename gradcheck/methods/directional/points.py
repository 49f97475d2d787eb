"""The points at which gradients go wrong: special values of a model's floating inputs. A new one is one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.errors import NotApplicable
from gradcheck.methods.directional.directions import points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck.methods.directional.directions import Array
    from gradcheck.problem.problem import Problem, TensorKey

    #: From the values of all floating inputs to those at the point.
    Move = Callable[[Sequence[Array], np.random.Generator], Sequence[Array]]

#: The batch as it is.
GIVEN = "given"
#: The range of a saturated input's size: sigmoid and tanh are flat there, exp is finite in float32.
SATURATED = (20.0, 60.0)


def _each(value: Callable[[Array, np.random.Generator], Array]) -> Move:
    return lambda inputs, rng: [value(x, rng) for x in inputs]


def _saturated(x: Array, rng: np.random.Generator) -> Array:
    """Return large values of both signs."""
    signs = np.where(np.arange(x.size) % 2, -1.0, 1.0)
    found: Array = rng.permutation(signs).reshape(x.shape) * rng.uniform(*SATURATED, x.shape)
    return found


def _same(inputs: Sequence[Array], rng: np.random.Generator) -> Sequence[Array]:
    """Return the first input in place of every input of its shape."""
    del rng
    alike = [x.shape == inputs[0].shape for x in inputs]
    if sum(alike) < 2:  # noqa: PLR2004 - one is always like itself
        raise NotApplicable("no two floating inputs have the same shape")
    return [inputs[0] if same else x for x, same in zip(inputs, alike, strict=True)]


POINTS: dict[str, Move] = {
    GIVEN: lambda inputs, _: inputs,
    "zeros": _each(lambda x, _: np.zeros_like(x)),
    "equal": _each(lambda x, _: np.full_like(x, 0.5)),
    "same": _same,
    "ones": _each(lambda x, _: np.ones_like(x)),
    "saturated": _each(_saturated),
    "negative": _each(lambda x, _: -np.abs(x)),
}


def values_at(problem: Problem, point: str) -> Mapping[TensorKey, Any]:
    """Return the floating inputs of `problem` at `point`, in float64; nothing for the batch itself.

    Raises:
        NotApplicable: if the problem has no such point: no floating input, or only one where two are to be equal.
    """
    if point == GIVEN:
        return {}
    inputs = {key: np.asarray(t).astype(np.float64) for key, t in points(problem).items() if key.kind == "input"}
    if not inputs:
        raise NotApplicable("no input is of a floating dtype")
    moved = POINTS[point](list(inputs.values()), np.random.default_rng(problem.seed))
    return dict(zip(inputs, moved, strict=True))
