"""`numeric`: finite differences in float64 beside the tape of the float64 twin, whatever the model's precision.

A derivative is estimated along a few random directions per tensor, or for every element, with an error bar
(`gradcheck.numerics.differences`) that the comparison judges by.

Where the loss has a kink, no difference quotient can tell what a tape should give: ReLU at 0, a tie in max pooling.
A kink along a direction shows in its two slopes, and its error bar covers both. Kinks of several elements may cancel
along a direction, and the tape's value then lies outside; so what does not agree is tried again at a point beside: a
wrong gradient is wrong there as well, and one that is right there had a kink.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import tensorflow as tf

from gradcheck.errors import RunError
from gradcheck.gradients.directions import described, projections, random_directions
from gradcheck.gradients.interface import Gradients
from gradcheck.gradients.surface import Surface
from gradcheck.models.twin import twin
from gradcheck.numerics import derivative, noise_level, noise_points, too_coarse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradcheck.config.methods import NumericOptions
    from gradcheck.gradients.directions import Array
    from gradcheck.models.problem import Problem, TensorKey
    from gradcheck.numerics import Derivative

DOUBLE, SINGLE = "float64", "float32"
#: An error bar of this share of the gradient's size is good enough to take no more steps.
GOAL = 1e-7
#: A difference of this share of the gradient's size is none.
AGREE = 1e-5
#: How far the point beside is: this share of each element.
BESIDE = 1e-2


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """The tape's derivatives along the directions in which a tensor is moved.

    Attributes:
        tape: one derivative per direction.
        direction: the direction of an index.
        shape: of the results: the tensor's own if the directions are its elements.
    """

    tape: Array
    direction: Callable[[int], Array]
    shape: tuple[int, ...]

    @property
    def size(self) -> float:
        """The largest derivative that is finite."""
        return float(np.max(np.abs(self.tape), initial=0.0, where=np.isfinite(self.tape)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Slopes:
    """What was measured of one tensor.

    Attributes:
        probe: what it is compared with.
        found: the differences, in the order of the probe.
        beside: those that agree at the point beside.
        assigned: whether the forward pass assigns this weight itself, so that tape and differences tell of other
            functions.
    """

    probe: Probe
    found: tuple[Derivative, ...]
    beside: frozenset[int] = frozenset()
    assigned: bool = False

    @property
    def values(self) -> Array:
        """The differences; the tape's own value where nothing is known."""
        known = [d.value if math.isfinite(d.value) else t for d, t in zip(self.found, self.probe.tape, strict=True)]
        return np.array(known, np.float64)

    @property
    def bars(self) -> Array:
        """How far off the differences may be; infinite where they say nothing of what the tape should give.

        A tape that says zero, and a loss that does not change by one bit, leave no doubt: both are zero.
        """
        bars = np.array([found.error for found in self.found], np.float64)
        flat = np.array([found.value == found.left == found.right == 0 for found in self.found], np.bool_)
        bars[flat & (self.probe.tape == 0)] = 0.0
        bars[range(len(bars)) if self.assigned else sorted(self.beside)] = math.inf
        return bars

    @property
    def denied(self) -> list[int]:
        """Where tape and difference lie further apart than the difference may be off."""
        limit = np.maximum(self.bars, AGREE * self.probe.size)
        return [int(i) for i in np.flatnonzero(np.abs(self.values - self.probe.tape) > limit)]


def numeric(problem: Problem, options: NumericOptions) -> Gradients:
    """Finite differences of the loss, and the twin's tape to compare them with.

    Raises:
        RunError: if the model cannot be built once more as its own twin.
    """
    start = time.perf_counter()
    surface, measured, warnings = _in_double(problem, options)
    scale = max((slopes.probe.size for slopes in measured.values()), default=0.0)
    tape = {key: g for key, g in surface.gradients.items() if key in surface.shapes or g is None}
    return Gradients(
        loss=None,
        outputs=(),
        tensors={key: None if g is None else np.zeros(surface.shapes[key]) for key, g in tape.items()}
        | {key: slopes.values.reshape(slopes.probe.shape) for key, slopes in measured.items()},
        against=tape | {key: slopes.probe.tape.reshape(slopes.probe.shape) for key, slopes in measured.items()},
        error_bars={key: slopes.bars.reshape(slopes.probe.shape) for key, slopes in measured.items()},
        notes={key: _note(slopes, options, scale) for key, slopes in measured.items()},
        tolerance_dtype=SINGLE,  # differences in float64 keep about as many digits as float32 has
        state={},
        seconds=time.perf_counter() - start,
        warnings=warnings,
    )


#: The surface at the point itself, what was measured on it, and what a reader should know of all of it.
Found: TypeAlias = tuple[Surface, "dict[TensorKey, Slopes]", tuple[str, ...]]
_RESTLESS = "GC704: the loss does not repeat itself, so that finite differences see its noise"


def _in_double(problem: Problem, options: NumericOptions) -> Found:
    """The differences on the float64 twin; in float32 where an operation has no float64, as 3-D max pooling has not."""
    try:
        return _in(problem, DOUBLE, options)
    except (tf.errors.OpError, RunError) as error:
        cause = error if isinstance(error, tf.errors.OpError) else error.__cause__
        if problem.precision == DOUBLE or not isinstance(cause, tf.errors.OpError):
            raise
        why = str(cause).partition("\n")[0]
    surface, measured, warnings = _in(problem, SINGLE, options)
    return surface, measured, (*warnings, f"finite differences are in float32, for the model fails in float64: {why}")


def _in(problem: Problem, precision: str, options: NumericOptions) -> Found:
    """The differences on the twin in `precision`."""
    with twin(problem, precision) as other, other.state.preserved():
        surface = Surface(other)
        measured = {key: _slopes(surface, key, options) for key in surface.shapes if _fits(surface, key)}
        measured |= _tried_beside(surface, measured, options)
        return surface, measured, () if surface.repeats else (_RESTLESS,)


def _fits(surface: Surface, key: TensorKey) -> bool:
    """Whether the tape has a gradient of the tensor, and one of its shape: a custom gradient may have another."""
    gradient = surface.gradients[key]
    return gradient is not None and gradient.shape == surface.shapes[key]


def _slopes(surface: Surface, key: TensorKey, options: NumericOptions) -> Slopes:
    """One tensor along all of its directions."""
    probe = _probe(surface, key, options)
    found = _measured(surface, key, probe, range(len(probe.tape)), options)
    return Slopes(probe=probe, found=found, assigned=key in surface.assigned)


def _probe(surface: Surface, key: TensorKey, options: NumericOptions) -> Probe:
    gradient, shape = surface.gradients[key], surface.shapes[key]
    if options.mode == "full":
        return Probe(tape=gradient.reshape(-1), direction=partial(_unit, shape), shape=shape)
    directions = random_directions(key, shape, count=options.directions, seed=surface.seed)
    tape = projections(gradient, directions)
    return Probe(tape=tape, direction=directions.__getitem__, shape=tape.shape)


def _unit(shape: tuple[int, ...], index: int) -> Array:
    """The direction of element `index` in C order."""
    unit = np.zeros(shape)
    unit.flat[index] = 1.0
    return unit


def _measured(
    surface: Surface, key: TensorKey, probe: Probe, indices: Iterable[int], options: NumericOptions
) -> tuple[Derivative, ...]:
    """The finite differences along some directions of `probe`. The noise of the loss is that along a dense one."""
    value = surface.value(key)
    scale = float(np.sqrt(np.mean(value**2))) or 1.0
    losses = surface.along(key, stack=options.mode == "full")
    (dense,) = random_directions(key, value.shape, count=1, seed=surface.seed)
    noise = noise_level(losses(dense, noise_points(scale)), surface.eps)
    goal = GOAL * probe.size
    return tuple(
        derivative(partial(losses, probe.direction(i)), surface.loss, noise=noise, goal=goal, scale=scale)
        for i in indices
    )


def _tried_beside(
    surface: Surface, measured: dict[TensorKey, Slopes], options: NumericOptions
) -> dict[TensorKey, Slopes]:
    """What is denied here, told apart at a point beside: the tensors whose gradient agrees there."""
    suspects = {key: slopes for key, slopes in measured.items() if slopes.denied}
    if not suspects:
        return {}
    there = surface.beside(np.random.default_rng(surface.seed), BESIDE)
    excused = {}
    for key, slopes in suspects.items():
        denied = slopes.denied
        probe = _probe(there, key, options)
        tape = Probe(tape=probe.tape[denied], direction=probe.direction, shape=(len(denied),))
        if not Slopes(probe=tape, found=_measured(there, key, probe, denied, options)).denied:
            excused[key] = Slopes(probe=slopes.probe, found=slopes.found, beside=frozenset(denied))
    return excused


def _note(slopes: Slopes, options: NumericOptions, scale: float) -> str:
    """What was compared, and why it says nothing where it does not."""
    what = "every element" if options.mode == "full" else described(options.directions)
    coarse = [int(i) for i in np.flatnonzero(too_coarse(slopes.probe.tape, slopes.bars, scale))]
    if slopes.assigned:
        return f"{what}; GC801: the forward pass assigns this weight, and the tape starts from what it assigned"
    kinks = [i for i in coarse if slopes.found[i].kink and i not in slopes.beside]
    if kinks:
        found = slopes.found[kinks[0]]
        return f"{what}; GC802: at a kink, slopes {found.left:.4g} and {found.right:.4g} on the two sides"
    if slopes.beside:
        return f"{what}; GC802: at a kink, for right beside this point the gradient agrees"
    if coarse:
        return f"{what}; GC801: known only to within {max(slopes.bars[coarse]):.2g}"
    return what
