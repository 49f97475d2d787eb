"""`forward`: directional derivatives by forward mode (`tf.autodiff.ForwardAccumulator`) beside the reference.

A Jacobian-vector product carries a direction v through the model together with the values, and yields the loss's
derivative along v without a backward pass; it equals the inner product of v and the reference's gradient.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.comparing.keys import as_array
from gradcheck.comparing.tape import monolithic, whole_loss
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import RunError
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.interface import Gradients
from gradcheck.methods.directional.directions import (
    described,
    integer_inputs,
    noise_floors,
    points,
    projections,
    random_directions,
    standing_still,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gradcheck.config.sections.methods import ForwardOptions
    from gradcheck.handoff.interface import Tensors
    from gradcheck.methods.directional.directions import Array, Measured
    from gradcheck.problem.problem import Problem, TensorKey


def forward(problem: Problem, options: ForwardOptions) -> Gradients:
    """Return directional derivatives by JVPs, run eagerly, and those of an eager reference.

    Raises:
        RunError: GC055 if a JVP is None where the reference has a gradient, or an operation has no forward mode.
    """
    start = time.perf_counter()
    directions = {
        key: random_directions(key, tensor.shape, count=options.directions, seed=problem.seed)
        for key, tensor in points(problem).items()
    }
    measures = [partial(_by_tape, problem, directions), partial(_by_jvp, problem, directions)]
    with problem.state.preserved():
        against = _by_tape(problem, directions, batch_tensors(problem), directions)
        connected = [key for key, value in against.items() if value is not None]
        found = _by_jvp(problem, directions, batch_tensors(problem), connected)
    return Gradients(
        loss=None,
        outputs=(),
        tensors={**integer_inputs(problem), **against, **found},  # where the tape has no gradient both are None
        against={**integer_inputs(problem), **against},
        notes=dict.fromkeys(connected, described(options.directions)),
        noise=partial(noise_floors, problem, [against, found], measures),
        state={},
        way="by forward mode",
        seconds=time.perf_counter() - start,
    )


def _by_tape(
    problem: Problem, directions: Mapping[TensorKey, Array], tensors: Tensors, keys: Collection[TensorKey]
) -> Measured:
    """Return the inner product of the reference's gradient with each direction."""
    with standing_still(problem, tensors) as restart:
        restart()
        gradients = monolithic(problem, tensors).gradients
    arrays = {key: as_array(gradients[key]) for key in keys}
    return {key: None if array is None else projections(array, directions[key]) for key, array in arrays.items()}


def _by_jvp(
    problem: Problem, directions: Mapping[TensorKey, Array], tensors: Tensors, keys: Collection[TensorKey]
) -> Measured:
    """Return the loss's derivative along each direction, by one forward pass each."""
    found: dict[TensorKey, list[float]] = {key: [] for key in keys}
    with standing_still(problem, tensors) as restart:
        for key, slopes in found.items():
            for direction in directions[key]:
                restart()
                slopes.append(_jvp(problem, tensors, key, direction))
    return {key: np.array(slopes, np.float64) for key, slopes in found.items()}


def _jvp(problem: Problem, tensors: Tensors, key: TensorKey, direction: Array) -> float:
    x = [copied(tensor) for tensor in tensors.x]
    primal = next((weight.variable.value for weight in problem.weights if weight.key == key), None)
    if primal is None:
        primal = next(tensor for i, tensor in enumerate(x) if problem.input_key(i) == key)
    tangent = tf.constant(direction.astype(primal.dtype.as_numpy_dtype))
    try:
        with tf.autodiff.ForwardAccumulator(primal, tangent) as accumulator:
            loss = whole_loss(problem, tensors._replace(x=x)).loss
        slope: Any = accumulator.jvp(loss)
    except LookupError as error:
        raise _without_forward_mode(f"{error}") from error
    if slope is None:
        raise _without_forward_mode(f"the derivative of the loss along {key.kind} {key.path} is None")
    return float(slope)


def _without_forward_mode(what: str) -> RunError:
    return RunError(
        f"forward mode does not go through the whole model, though the tape does. Received: {what}",
        code="GC055",
        help="an operation on the way has no forward mode: check with `numeric` instead",
    )
