"""`numeric`: finite differences in float64 beside the tape of the float64 twin, whatever the model's precision.

A derivative is estimated along a few random directions per tensor, with an error bar (`gradcheck.numerics.differences`)
by which the comparison judges; if these do not decide, element by element.

Where the loss has a kink, no difference quotient determines the tape's gradient: ReLU at 0, a tie in max pooling. If a
tensor changes the loss and has no gradient at all, the gradient is missing, whatever the reason.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import tensorflow as tf

from gradcheck.building.messages import gist
from gradcheck.errors import GradcheckError, NotApplicable, RunError
from gradcheck.methods.directional.directions import described, projections, random_directions, unit
from gradcheck.methods.directional.points import GIVEN, values_at
from gradcheck.methods.directional.slopes import BESIDE, GOAL, NEARBY, Probe, Slopes, compared, judged
from gradcheck.methods.directional.surface import Surface, output_masks
from gradcheck.methods.directional.surrogate import stood_in
from gradcheck.numerics import derivative, largest, noise_level, noise_points
from gradcheck.problem.twin import twin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from gradcheck.config.sections.methods import NumericOptions
    from gradcheck.handoff.interface import Gradients
    from gradcheck.methods.directional.directions import Array
    from gradcheck.numerics import Derivative
    from gradcheck.problem.problem import Problem, TensorKey

DOUBLE, SINGLE = "float64", "float32"
#: Larger tensors are not measured element by element; inputs, whose perturbed copies run as one batch, have the second
#: limit.
ELEMENTS, STACKED_ELEMENTS = 256, 4096
#: Nor are tensors that would take more seconds, at this many losses per element.
PATIENCE, LOSSES = 60.0, 20


def numeric(problem: Problem, options: NumericOptions) -> Gradients:
    """Return finite differences of the loss at one point, and the gradients of the twin's tape.

    Raises:
        NotApplicable: if the model has no such point, or the loss is not finite there.
        RunError: if the model cannot be built once more as its own twin.
    """
    start = time.perf_counter()
    surface, found, warnings = in_double(problem, partial(_measured, options))
    unfit = {key: g for key, g in surface.gradients.items() if g is None or key in surface.shapes}
    unfit = {key: g for key, g in unfit.items() if key not in found}
    return compared(
        found,
        lambda slopes: "every element" if slopes.elements else described(options.directions),
        tensors={key: None if g is None else np.zeros(surface.shapes[key]) for key, g in unfit.items()},
        against=unfit,
        seconds=time.perf_counter() - start,
        warnings=warnings,
    )


#: The surface at the point itself, the slopes measured on it, and warnings.
Found: TypeAlias = "tuple[Surface, dict[TensorKey, Slopes], tuple[str, ...]]"
RESTLESS = "GC704: the loss does not repeat itself, so that finite differences see its noise"


def in_double(problem: Problem, measure: Callable[[Problem], Found]) -> Found:
    """Return the results of `measure` on the float64 twin; on a float32 one if an operation has no float64 kernel.

    An example is 3-D max pooling.
    """
    try:
        with twin(problem, DOUBLE) as other, other.state.preserved():
            return measure(other)
    except (tf.errors.OpError, RunError) as error:
        # Raised while the twin is built, inside a layer's call, the operation's error is the cause of a RunError.
        cause = error if isinstance(error, tf.errors.OpError) else error.__cause__
        if problem.precision == DOUBLE or not isinstance(cause, tf.errors.OpError):
            raise
        why = str(cause).partition("\n")[0]
    with twin(problem, SINGLE) as other, other.state.preserved():
        surface, found, warnings = measure(other)
    return surface, found, (*warnings, f"finite differences are in float32, for the model fails in float64: {why}")


def _measured(options: NumericOptions, problem: Problem) -> Found:
    """Measure every tensor along a few directions or all of its elements, and judge the denied ones."""
    if options.surrogate is not None:
        return _by_rule(options, problem, options.surrogate)
    surface = surface_at(problem, options.points)
    slow: list[TensorKey] = []
    found = {key: _examined(surface, key, options, slow) for key in surface.shapes if _fits(surface, key)}
    warnings = (*restless(surface), *_left(slow))
    return surface, judged(_AroundSurface(surface, found), found, seed=surface.seed), warnings


def _left(slow: list[TensorKey]) -> tuple[str, ...]:
    """Return the warning of tensors that random directions alone have measured."""
    if not slow:
        return ()
    paths = ", ".join(key.path for key in slow)
    said = (
        f"random directions leave {paths} open, and element by element would take over {PATIENCE:.0f} s each: check "
        "a smaller model, or ask for `mode: full`"
    )
    return (said,)


def _by_rule(options: NumericOptions, problem: Problem, rule: str) -> Found:
    """Measure beside the rule of one layer, whose own weights are left out."""
    tape = surface_at(problem, options.points)
    at = {key: tape.value(key) for key in tape.shapes}
    problem = replace(problem, made={})  # functions compiled here contain the rule in place of the layer
    with stood_in(problem, rule, at) as layer:
        surface = Surface(problem, at)
        own = {id(variable) for variable in layer.trainable_variables}
        held = {weight.key for weight in problem.weights if id(weight.variable) in own}
        surface.gradients = {key: gradient for key, gradient in tape.gradients.items() if key not in held}
        keys = [key for key in surface.shapes if key not in held and _fits(surface, key)]
        found = {key: _examined(surface, key, options, []) for key in keys}
        around = _AroundSurface(tape, found, ruled=True)
        said = f"the weights of {layer.name} are not checked: its surrogate is a rule for its inputs"
        warnings = (*restless(surface), *((said,) if held else ()))
        return surface, judged(around, found, seed=surface.seed), warnings


def surface_at(problem: Problem, points: tuple[str, ...] | None) -> Surface:
    """Return the loss around the one point of `points`; None is the batch itself, whatever the loss is there."""
    if points is None:
        return Surface(problem)
    (point,) = points
    try:
        values = values_at(problem, point)
        surface = Surface(problem, values)
    except Exception as error:
        if point == GIVEN or isinstance(error, GradcheckError):
            raise
        raise NotApplicable(f"the model raises at the point `{point}`: {gist(error)}") from error
    if not math.isfinite(surface.loss):
        raise NotApplicable(f"the loss is not finite at the point `{point}`. Received: {surface.loss}")
    if output_masks(problem, values) != output_masks(problem, {}):
        raise NotApplicable(f"the model masks other steps at the point `{point}`: it cuts their gradient on purpose")
    return surface


def restless(surface: Surface) -> tuple[str, ...]:
    """Return the warning of a loss that does not repeat itself."""
    return () if surface.repeats else (RESTLESS,)


def _fits(surface: Surface, key: TensorKey) -> bool:
    """Whether the tape's gradient, if any, has the tensor's shape: a custom gradient may have another."""
    gradient = surface.gradients[key]
    return gradient is None or gradient.shape == surface.shapes[key]


def _examined(surface: Surface, key: TensorKey, options: NumericOptions, slow: list[TensorKey]) -> Slopes:
    """Measure one tensor along a few directions; if these leave something open, along each of a few elements.

    `slow` collects tensors whose elements would take too long.
    """
    slopes = _along(surface, key, options, elements=options.mode == "full")
    limit = STACKED_ELEMENTS if key.kind == "input" else ELEMENTS
    # Elements cost several losses each, directions the same for any size: so they come second, and only in doubt.
    if slopes.elements or not slopes.connected or len(slopes.which("agrees")) == len(slopes.found):
        return slopes
    count = math.prod(surface.shapes[key])
    if count > limit:
        return slopes
    if key.kind != "input" and count * LOSSES * _seconds(surface, key) > PATIENCE:
        slow.append(key)
        return slopes
    return _along(surface, key, options, elements=True)


def _seconds(surface: Surface, key: TensorKey) -> float:
    """Return the seconds that one loss takes, once it is compiled."""
    start = time.perf_counter()
    surface.along(key, stack=False)(np.zeros(surface.shapes[key]), np.zeros(1))
    return time.perf_counter() - start


def _along(surface: Surface, key: TensorKey, options: NumericOptions, *, elements: bool) -> Slopes:
    gradient, shape = surface.gradients[key], surface.shapes[key]
    held = np.zeros(shape) if gradient is None else gradient
    if elements:
        probe = Probe(tape=held.reshape(-1), direction=partial(unit, shape), shape=shape)
    else:
        directions = random_directions(key, shape, count=options.directions, seed=surface.seed)
        tape = projections(held, directions)
        probe = Probe(tape=tape, direction=directions.__getitem__, shape=tape.shape)
    return Slopes(
        probe=probe,
        found=_differences(surface, key, probe, range(len(probe.tape)), stack=elements),
        elements=elements,
        assigned=key in surface.assigned,
        connected=gradient is not None,
    )


def _differences(
    surface: Surface, key: TensorKey, probe: Probe, indices: Iterable[int], *, stack: bool
) -> tuple[Derivative, ...]:
    """Return the finite differences along some directions of `probe`."""
    value = surface.value(key)
    # Steps in proportion to the tensor: weights of 1e-3 change the loss noticeably by as much.
    scale = float(np.sqrt(np.mean(value**2))) or 1.0
    losses = surface.along(key, stack=stack)
    # Along one element few of the loss's roundings change, and the noise would look smaller than it is.
    (dense,) = random_directions(key, value.shape, count=1, seed=surface.seed)
    noise = noise_level(losses(dense, noise_points(scale)), surface.eps)
    goal, size = GOAL * probe.size, largest(value)
    return tuple(
        derivative(partial(losses, probe.direction(i)), surface.loss, noise=noise, goal=goal, scale=scale, around=size)
        for i in indices
    )


@dataclass(frozen=True, eq=False)
class _AroundSurface:
    """The loss around a surface's point, along the directions in which it was measured."""

    surface: Surface
    found: Mapping[TensorKey, Slopes]
    ruled: bool = False  # by a surrogate, whose rule holds at this one point

    def nearby(self, rng: np.random.Generator) -> Mapping[TensorKey, Array]:
        gradients = self.surface.gradients_nearby(rng, NEARBY)
        return {key: self._projected(key, gradients) for key in self.found}

    def denied_beside(
        self, rng: np.random.Generator, left: Mapping[TensorKey, list[int]]
    ) -> Mapping[TensorKey, frozenset[int]]:
        if self.ruled:
            return {key: frozenset(indices) for key, indices in left.items()}
        there = self.surface.beside(rng, BESIDE)
        return {key: self._denied(there, key, indices) for key, indices in left.items()}

    def _denied(self, there: Surface, key: TensorKey, indices: list[int]) -> frozenset[int]:
        slopes, tape = self.found[key], self._projected(key, there.gradients)
        probe = Probe(tape=tape, direction=slopes.probe.direction, shape=(len(tape),))
        found = _differences(there, key, probe, indices, stack=slopes.elements)
        chosen = Probe(tape=tape[indices], direction=probe.direction, shape=(len(indices),))
        beside = Slopes(probe=chosen, found=found, elements=False)
        return frozenset(indices[i] for i in beside.which("denied"))

    def _projected(self, key: TensorKey, gradients: Mapping[TensorKey, Any]) -> Array:
        """Project other gradients on the directions of the tensor's slopes."""
        gradient, slopes = gradients[key], self.found[key]
        if gradient is None:
            return np.zeros(len(slopes.found))
        if slopes.elements:
            return np.asarray(gradient, np.float64).reshape(-1)
        return projections(gradient, np.stack([slopes.probe.direction(i) for i in range(len(slopes.found))]))
