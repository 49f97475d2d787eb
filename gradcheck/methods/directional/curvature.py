"""Second derivatives compared with finite differences of the tape's own first-order gradients, in float64.

Two ways of differentiating twice share the registered gradients, and so any mistake in those: the gradient of a
gradient is lost behind `tf.stop_gradient` or NumPy, or wrong in a custom gradient of its own. The difference of
first-order gradients, r·(g(x + h v) - g(x)) / h, does not need them to be differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.comparing.keys import as_float64
from gradcheck.comparing.tape import monolithic
from gradcheck.handoff.execute import compiled
from gradcheck.methods.directional.slopes import BESIDE, GOAL, NEARBY, Probe, Slopes, judged
from gradcheck.methods.directional.surface import SAME, beside, moved_to, tape_at
from gradcheck.numerics import derivative, largest, movement, noise_level, noise_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck.handoff.interface import Tensors
    from gradcheck.methods.directional.directions import Array
    from gradcheck.numerics import Derivative
    from gradcheck.problem.problem import Problem, TensorKey

    #: By tensor, one value for each of the directions v; None where the tape has no second derivative.
    Readings = Mapping[TensorKey, Array | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Curvature:
    """The tape's gradients around a point, projected along some directions.

    Attributes:
        problem: the problem whose gradients they are.
        base: the point: every weight and floating input.
        directions: the directions v; the j-th ones of all tensors are moved along together.
        readings: the vectors r on which a tensor's gradient is projected, one for each direction.
        product: the tape's second order: from a batch to the readings of H·v, at the current weights.
        rewind: restores the initial weights and state.
    """

    problem: Problem
    base: Mapping[TensorKey, Array]
    directions: Mapping[TensorKey, Array]
    readings: Mapping[TensorKey, Array]
    product: Callable[[Tensors], Readings]
    rewind: Callable[[], None]
    _known: dict[tuple[int, float], Mapping[TensorKey, float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of directions."""
        return min(len(directions) for directions in self.directions.values())

    def measured(self) -> dict[TensorKey, Slopes]:
        """Return the second derivatives of every tensor with a gradient, compared with differences and judged."""
        tape, gradients = self.tape(self.base), self._gradients(self.base)
        found = {key: self.slopes(key, tape[key]) for key, g in gradients.items() if g is not None}
        return judged(self, found, seed=self.problem.seed)

    def nearby(self, rng: np.random.Generator) -> Mapping[TensorKey, Array]:
        """Return the tape's second derivatives at a random point close by."""
        found = self.tape({key: beside(value, rng, NEARBY) for key, value in self.base.items()})
        return {key: np.zeros(self.count) if values is None else values for key, values in found.items()}

    def denied_beside(
        self, rng: np.random.Generator, left: Mapping[TensorKey, list[int]]
    ) -> Mapping[TensorKey, frozenset[int]]:
        """Return which of those `left` are also denied at a random point at the distance `BESIDE`."""
        there = replace(self, base={key: beside(value, rng, BESIDE) for key, value in self.base.items()}, _known={})
        tape = there.tape(there.base)
        denied = {key: there.slopes(key, tape[key]).which("denied") for key in left}
        return {key: frozenset(denied[key]) & frozenset(indices) for key, indices in left.items()}

    def tape(self, at: Mapping[TensorKey, Array]) -> Readings:
        """Return the tape's second derivatives at a point."""
        self.rewind()
        return self.product(moved_to(self.problem, at))

    def _gradients(self, at: Mapping[TensorKey, Array], *, eager: bool = True) -> Mapping[TensorKey, Any]:
        self.rewind()
        tensors = moved_to(self.problem, at)
        found = tape_at(self.problem, tensors)[1] if eager else self._compiled(tensors)
        return {key: found[key] for key in self.base}

    def _compiled(self, tensors: Tensors) -> Mapping[TensorKey, Any]:
        """Return the tape's gradients by a graph function, which is kept with the problem."""
        kept = self.problem.made.setdefault("gradients", compiled(partial(monolithic, self.problem), "graph"))
        return {key: as_float64(tensor) for key, tensor in kept(tensors).gradients.items()}

    @cached_property
    def _eager(self) -> bool:
        """Whether the gradients must be computed eagerly: compiled ones differ, or compiling fails."""
        try:
            ours, theirs = (self._gradients(self.base, eager=eager) for eager in (True, False))
        except Exception:  # noqa: BLE001 - the user's code cannot be compiled: it runs eagerly, as under the tape
            return True
        return any(
            (a is None) != (b is None) or (a is not None and movement(a, b) > SAME * largest(a))
            for a, b in ((ours[key], theirs[key]) for key in self.base)
        )

    def slopes(self, key: TensorKey, tape: Array | None) -> Slopes:
        """Return one tensor's second derivatives by the tape, with those by differences."""
        held = np.zeros(self.count) if tape is None else tape
        found = tuple(self._derivative(key, j, held) for j in range(self.count))
        probe = Probe(tape=held, shape=held.shape, direction=self.directions[key].__getitem__)
        return Slopes(probe=probe, found=found, elements=False, connected=tape is not None)

    def _derivative(self, key: TensorKey, j: int, tape: Array) -> Derivative:
        def read(steps: Sequence[float] | Array) -> Array:
            return np.array([self._read(j, float(step))[key] for step in steps])

        noise = noise_level(read(noise_points(1.0)))
        at_zero = self._read(j, 0.0)[key]
        goal = GOAL * float(np.max(np.abs(tape), initial=0.0, where=np.isfinite(tape)))
        return derivative(read, at_zero, noise=noise, goal=goal)

    def _read(self, j: int, step: float) -> Mapping[TensorKey, float]:
        """Return every tensor's reading of the gradient, `step` along the j-th direction; computed once per point."""
        # One run reads all tensors: they move together, so the points of one tensor serve the others.
        if (j, step) not in self._known:
            at = {key: value + step * self.directions[key][j] for key, value in self.base.items()}
            gradients = self._gradients(at, eager=self._eager)
            read = partial(_inner, self.readings)
            self._known[j, step] = {key: read(key, j, g) for key, g in gradients.items() if g is not None}
        return self._known[j, step]


def _inner(readings: Mapping[TensorKey, Array], key: TensorKey, j: int, gradient: Array) -> float:
    return float(np.sum(readings[key][j] * gradient))
