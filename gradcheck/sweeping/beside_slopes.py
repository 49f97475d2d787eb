"""The derivatives of one way at one point, beside measured slopes.

The slopes of a scalar along each element are measured once, and serve every way to differentiate it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.methods.directional.directions import unit
from gradcheck.methods.directional.slopes import BESIDE, GOAL, NEARBY, Probe, Slopes, judged
from gradcheck.methods.directional.surface import beside
from gradcheck.numerics import derivative, largest, noise_level, noise_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck.numerics import Derivative
    from gradcheck.sweeping.call_scalars import Array, Derivatives, Values

    #: The slopes along every element of each tensor.
    Measured = Sequence[tuple[Derivative, ...]]


@dataclass(frozen=True, eq=False, kw_only=True)
class AroundPoint:
    """A scalar function around a point, and one way to differentiate it.

    Attributes:
        value: the scalar, in float64.
        derive: its derivatives by the way.
        values: the point.
        stretch: a factor of all steps, so that a verdict can be tried with others.
        agree: the share of the largest derivative by which the way may differ.
        rounding: by how much it may differ whatever that is.
    """

    value: Callable[[Values], float]
    derive: Callable[[Values], Derivatives]
    values: Values
    stretch: float
    agree: float
    rounding: float = 0.0

    def judged(self, found: Measured, derivatives: Derivatives, *, seed: int) -> dict[int, Slopes]:
        """Return, by tensor, how the derivatives compare with the slopes `found`."""
        beside_found = {
            i: self.slopes(i, derivatives[i], found[i]) for i, value in enumerate(self.values) if value.size
        }
        if all(math.isfinite(each.error) for of_tensor in found for each in of_tensor):
            return judged(self, beside_found, seed=seed)
        # NaN is not wrong where a slope is infinite: forward mode multiplies it by the zeros of its tangents.
        return {
            i: replace(each, excused=each.excused | frozenset(each.which("nonfinite")))
            for i, each in judged(self, beside_found, seed=seed).items()
        }

    def nearby(self, rng: np.random.Generator) -> Mapping[int, Array]:
        """Return the derivatives at a random point close by."""
        there = self._beside(rng, NEARBY)
        return {i: _flat(derived, there[i]) for i, derived in enumerate(self.derive(there))}

    def denied_beside(self, rng: np.random.Generator, left: Mapping[int, list[int]]) -> Mapping[int, frozenset[int]]:
        """Return which of the elements `left` are denied at a random point at the distance `BESIDE` as well."""
        there = replace(self, values=self._beside(rng, BESIDE))
        derivatives, denied = self.derive(there.values), {}
        for i, elements in left.items():
            there_found = there.slopes(i, derivatives[i], measured(there, i, goal=GOAL * largest(derivatives[i])))
            denied[i] = frozenset(there_found.which("denied")) & frozenset(elements)
        return denied

    def slopes(self, which: int, derived: Array | None, found: tuple[Derivative, ...]) -> Slopes:
        """Return the derivatives of one tensor beside the slopes `found`."""
        value = self.values[which]
        return Slopes(
            probe=Probe(tape=_flat(derived, value), direction=partial(unit, value.shape), shape=value.shape),
            found=found,
            elements=True,
            connected=derived is not None,
            agree=self.agree,
            rounding=self.rounding,
        )

    def _beside(self, rng: np.random.Generator, distance: float) -> list[Array]:
        return [beside(value, rng, distance) for value in self.values]


def measured(around: AroundPoint, which: int, *, goal: float) -> tuple[Derivative, ...]:
    """Return the slopes of the scalar along every element of tensor `which`."""
    value = around.values[which]
    scale = (float(np.sqrt(np.mean(value**2))) or 1.0) * around.stretch

    def along(direction: Array, steps: Array) -> Array:
        return np.array([around.value(_replaced(around.values, which, value + s * direction)) for s in steps])

    at_zero = around.value(around.values)
    noise = noise_level(along(np.ones(value.shape), noise_points(scale)))
    return tuple(
        derivative(
            partial(along, unit(value.shape, j)),
            at_zero,
            noise=noise,
            goal=goal,
            scale=scale,
            around=abs(value.flat[j]),
        )
        for j in range(value.size)
    )


def _replaced(values: Values, which: int, by: Array) -> list[Array]:
    return [by if i == which else value for i, value in enumerate(values)]


def _flat(derived: Array | None, value: Array) -> Array:
    return np.zeros(value.size) if derived is None else derived.reshape(-1)
