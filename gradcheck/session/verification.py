"""Verification of the reference: its gradient is compared with one finite difference of the loss, in the float64 twin.

All weights and floating inputs are moved at once along a random direction v, each in proportion to its size. To first
order the loss changes by g·v per step, for the true gradient g: the difference uses no gradient code. Two forward
passes are enough, up to eight if kinks are near. If they do not confirm the tape, `numeric` measures tensor by tensor
and decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.messages import gist
from gradcheck.comparing.keys import as_float64
from gradcheck.comparing.reference import GRADIENT_KINDS
from gradcheck.comparing.tape import whole_loss
from gradcheck.config.sections.methods import NumericOptions
from gradcheck.errors import RunError
from gradcheck.handoff.execute import batch_tensors
from gradcheck.keras_private import all_layers
from gradcheck.methods.directional.directions import points, random_directions, standing_still
from gradcheck.methods.directional.numeric import RESTLESS, numeric
from gradcheck.methods.directional.surface import moved_to, tape_at
from gradcheck.problem.twin import float64_twin
from gradcheck.session import patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradcheck.comparing.reference import Reference
    from gradcheck.custom_gradients import Watch
    from gradcheck.handoff.interface import Gradients
    from gradcheck.methods.directional.directions import Array
    from gradcheck.problem.problem import Problem, TensorKey

#: The steps, relative to the size of each tensor, tried until one confirms the tape: a deep model has kinks nearby,
#: which the smaller steps do not reach.
STEPS = (2.0**-18, 2.0**-22, 2.0**-26, 2.0**-30)
#: The tape agrees if it is off by no more than this share of the sum of |g·v| over all tensors …
AGREE = 1e-6
#: … and a finite difference is used only if rounding may move it by no more than this share of that sum.
DECISIVE = 1e-3
#: The relative rounding of a loss in float64, after a few hundred operations.
ROUNDING = 1e-13


_UNDECIDED = "the reference was not verified: finite differences do not decide"


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The result of a verification.

    Attributes:
        share: the largest relative difference of the tape and the finite difference; None unless they agree.
        against: the tape compared with finite differences, tensor by tensor, if it is wrong; otherwise None.
        note: why the verification did not decide; None if it did.
    """

    share: float | None = None
    against: Gradients | None = None
    note: str | None = None


def is_due(problem: Problem, reference: Reference, watch: Watch, *, mode: str) -> bool:
    """Whether to verify the reference: always, never, or with `auto` if it is quick or runs the user's code.

    With `auto` a config that lists `numeric` is left to that method, which makes the same comparison tensor by tensor.
    """
    if mode == "never" or not _is_finite(reference):  # a value that is not finite fails every check anyway
        return False
    if mode == "always":
        return True
    if any(method.method == "numeric" for method in problem.config.methods):
        return False
    quick = reference.gradients.seconds < patience.QUICK
    return quick or watch.used or any(map(_is_users, all_layers([problem.model])))


def _is_finite(reference: Reference) -> bool:
    """Whether the loss and all gradients are finite."""
    arrays = (as_float64(tensor) for key, tensor in reference.tensors.items() if key.kind in GRADIENT_KINDS)
    return math.isfinite(float(reference.gradients.loss)) and all(a is None or np.isfinite(a).all() for a in arrays)


def _is_users(layer: keras.Layer) -> bool:
    """Whether a layer is not one of Keras, or holds a function of the user."""
    return not type(layer).__module__.startswith("keras.") or isinstance(layer, keras.layers.Lambda)


def verify(problem: Problem) -> Verified:
    """Compare the tape of `problem` with finite differences."""
    try:
        with float64_twin(problem) as twin, twin.state.preserved():
            decided = _along_one_direction(replace(twin, slices=(), plan=None))
        if decided is not None:
            return decided
        found = numeric(replace(problem, slices=(), plan=None), NumericOptions())
    except (RunError, tf.errors.OpError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        return Verified(note=f"the reference was not verified: it cannot be run in float64 ({gist(error)})")
    if found.wrong and RESTLESS not in found.warnings:
        return Verified(against=found)
    return Verified(note=f"{_UNDECIDED} ({_why(found)})")


def _why(found: Gradients) -> str:
    if RESTLESS in found.warnings:
        return RESTLESS
    said = (note.partition("; ")[2] for note in found.notes.values())
    return next((why for why in said if why), "they agree tensor by tensor, and not along a direction of all")


def _along_one_direction(twin: Problem) -> Verified | None:
    """Compare the tape with the slope of the loss along one direction; None if they agree at no step."""
    tensors = {key: np.asarray(tensor, np.float64) for key, tensor in points(twin).items()}
    along = {key: _direction(key, value, twin.seed) for key, value in tensors.items()}
    with standing_still(twin, batch_tensors(twin)) as rewind:
        rewind()
        loss, gradients = tape_at(twin, batch_tensors(twin))
        terms = [float(np.sum(g * v)) for key, v in along.items() if (g := gradients[key]) is not None]
        expected, size = sum(terms), sum(map(abs, terms))
        for step in STEPS:
            right, left = (_loss(twin, rewind, tensors, along, side * step) for side in (1, -1))
            # Central, and from each side: a kink on one side leaves the slope of the other.
            slopes = ((right - left) / (2 * step), (right - loss) / step, (loss - left) / step)
            off, rounding = min(abs(slope - expected) for slope in slopes), ROUNDING * abs(loss) / step
            if size and off <= AGREE * size + rounding and rounding <= DECISIVE * size:
                return Verified(share=(off + rounding) / size)
        # A loss that differs between two runs at the same point has no slope: `numeric` could not decide either.
        if _loss(twin, rewind, tensors, along, 0.0) != _loss(twin, rewind, tensors, along, 0.0):
            return Verified(note=f"{_UNDECIDED} ({RESTLESS})")
    return None


def _direction(key: TensorKey, value: Array, seed: int) -> Array:
    """Return a random direction, scaled by the root mean square of the tensor; unscaled for a tensor of zeros."""
    direction: Array = random_directions(key, value.shape, count=1, seed=seed)[0]
    return direction * (float(np.sqrt(np.mean(value**2))) or 1.0)


def _loss(
    problem: Problem,
    rewind: Callable[[], None],
    tensors: Mapping[TensorKey, Array],
    along: Mapping[TensorKey, Array],
    step: float,
) -> float:
    rewind()
    moved = moved_to(problem, {key: value + step * along[key] for key, value in tensors.items()})
    return float(whole_loss(problem, moved).loss)


def state_of_forward(problem: Problem) -> Mapping[str, Any]:
    """Return the state after one forward pass without a backward pass; the problem's state is restored."""
    with problem.state.preserved():
        whole_loss(problem, batch_tensors(problem))
        return problem.state.read(split=False)
