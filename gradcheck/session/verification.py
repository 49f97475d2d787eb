"""The reference on trial: the tape's gradient beside one finite difference of the loss, in the float64 twin.

All weights and floating inputs are moved at once along a random direction v, each in proportion to its size; the loss
then changes by g·v, whatever the registered gradients say. Two forward passes tell, up to eight where there are kinks
close by. What they do not confirm is measured tensor by tensor by `numeric`, which decides.
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
from gradcheck.config.sections.methods import NumericOptions
from gradcheck.errors import RunError
from gradcheck.handoff.execute import batch_tensors
from gradcheck.keras_private import all_layers
from gradcheck.methods.directional.directions import points, random_directions, standing_still, whole_loss
from gradcheck.methods.directional.numeric import RESTLESS, numeric
from gradcheck.methods.directional.surface import moved_to, tape_at
from gradcheck.problem.twin import float64_twin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradcheck.comparing.reference import Reference
    from gradcheck.custom_gradients import Watch
    from gradcheck.handoff.interface import Gradients
    from gradcheck.methods.directional.directions import Array
    from gradcheck.problem.problem import Problem, TensorKey

#: Under this many seconds for its gradient a reference is always verified: it costs next to nothing.
QUICK = 0.5
#: The shares of their size that tensors are moved by, up to the first that confirms the tape: a deep model has kinks
#: close by, which smaller steps do not reach.
STEPS = (2.0**-18, 2.0**-22, 2.0**-26, 2.0**-30)
#: A difference of this share of the sum of what all tensors contribute is none …
AGREE = 1e-6
#: … and a finite difference that rounding may move by more decides nothing.
DECISIVE = 1e-3
#: The rounding of a loss in float64: a few hundred operations' worth.
ROUNDING = 1e-13


_UNDECIDED = "the reference was not verified: finite differences do not decide"


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a trial came to.

    Attributes:
        share: how far the tape is from the finite difference at most, as a share; None unless they agree.
        against: the tape beside differences, tensor by tensor, where it is wrong.
        note: why nothing could be decided.
    """

    share: float | None = None
    against: Gradients | None = None
    note: str | None = None


def is_due(problem: Problem, reference: Reference, watch: Watch, *, mode: str) -> bool:
    """Whether the reference is to be verified: always, never, or (`auto`) where it is quick or code of the user's runs.

    Where the config asks for `numeric`, that is the trial, with what is expected of it.
    """
    if mode == "never" or not _is_finite(reference):  # what is not finite fails every check by itself
        return False
    if mode == "always":
        return True
    if any(method.method == "numeric" for method in problem.config.methods):
        return False
    return reference.gradients.seconds < QUICK or watch.used or any(map(_is_users, all_layers([problem.model])))


def _is_finite(reference: Reference) -> bool:
    """Whether the loss and all gradients are finite."""
    arrays = [as_float64(tensor) for key, tensor in reference.tensors.items() if key.kind in GRADIENT_KINDS]
    return math.isfinite(float(reference.gradients.loss)) and all(a is None or np.isfinite(a).all() for a in arrays)


def _is_users(layer: keras.Layer) -> bool:
    """Whether a layer is not Keras's own, or holds a function of the user's."""
    return not type(layer).__module__.startswith("keras.") or isinstance(layer, keras.layers.Lambda)


def verify(problem: Problem) -> Verified:
    """Holds the tape of `problem` against finite differences."""
    try:
        with float64_twin(problem) as twin, twin.state.preserved():
            decided = _along_one_direction(replace(twin, slices=()))
        if decided is not None:
            return decided
        found = numeric(replace(problem, slices=()), NumericOptions())
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
    """How far the tape may be from the slope of the loss; None where they differ or nothing is known."""
    tensors = {key: np.asarray(tensor, np.float64) for key, tensor in points(twin).items()}
    along = {key: _direction(key, value, twin.seed) for key, value in tensors.items()}
    with standing_still(twin, batch_tensors(twin)) as rewind:
        rewind()
        loss, gradients = tape_at(twin, batch_tensors(twin))
        terms = [float(np.sum(g * v)) for key, v in along.items() if (g := gradients[key]) is not None]
        expected, size = sum(terms), sum(map(abs, terms))
        for step in STEPS:
            right, left = (_loss(twin, rewind, tensors, along, side * step) for side in (1, -1))
            slopes = ((right - left) / (2 * step), (right - loss) / step, (loss - left) / step)  # a kink is on one side
            off, rounding = min(abs(slope - expected) for slope in slopes), ROUNDING * abs(loss) / step
            if size and off <= AGREE * size + rounding and rounding <= DECISIVE * size:
                return Verified(share=(off + rounding) / size)
        if _loss(twin, rewind, tensors, along, 0.0) != _loss(twin, rewind, tensors, along, 0.0):
            return Verified(note=f"{_UNDECIDED} ({RESTLESS})")
    return None


def _direction(key: TensorKey, value: Array, seed: int) -> Array:
    """A random direction, in proportion to the size of the tensor; of its own size for one that is zero."""
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
    """The state after one forward pass without a backward pass."""
    with problem.state.preserved():
        whole_loss(problem, batch_tensors(problem))
        return problem.state.read(split=False)
