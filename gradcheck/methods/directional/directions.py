"""Random directions and derivatives along them: the steps that `numeric`, `forward` and `hvp` share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tensorflow as tf

from gradcheck.building.state import Snapshot, movable_variables
from gradcheck.comparing.reference import nudged
from gradcheck.comparing.tape import whole_loss
from gradcheck.errors import RunError
from gradcheck.handoff.tensors import is_differentiable
from gradcheck.numerics import NOISE_RUNS, movement, to_array
from gradcheck.phrases import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gradcheck.handoff.interface import Tensors
    from gradcheck.numerics import Tensor
    from gradcheck.problem.problem import Problem, TensorKey

    Array: TypeAlias = NDArray[np.float64]
    #: One number per direction for each tensor; None where no gradient flows.
    Measured: TypeAlias = Mapping[TensorKey, Array | None]
    Measure: TypeAlias = Callable[[Tensors, Collection[TensorKey]], Measured]


def points(problem: Problem) -> dict[TensorKey, Any]:
    """Return every weight (its TensorFlow variable) and every input (its tensor) of a real floating dtype, by key."""
    found = {weight.key: weight.variable.value for weight in problem.weights}
    found |= {problem.input_key(i): tensor for i, tensor in enumerate(problem.batch.x)}
    return {key: tensor for key, tensor in found.items() if tensor.dtype.is_floating}


def integer_inputs(problem: Problem) -> dict[TensorKey, None]:
    """Return the inputs that have no gradient, as a method reports them."""
    inputs = enumerate(problem.batch.x)
    return {problem.input_key(i): None for i, tensor in inputs if not is_differentiable(tensor)}


def random_directions(key: TensorKey, shape: Sequence[int], *, count: int, seed: int) -> Array:
    """Return `count` random directions for a tensor of `shape`, stacked along a new first axis.

    The elements are independent, of either sign, and between 1/2 and 3/2 in size: none is too small to matter, and no
    two cancel exactly.
    """
    rng = np.random.default_rng([seed, *f"{key.kind} {key.path}".encode()])
    size = (count, *shape)
    directions: Array = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.5, size)
    return directions


def unit(shape: Sequence[int], index: int) -> Array:
    """Return the direction of element `index` in C order."""
    direction = np.zeros(shape)
    direction.flat[index] = 1.0
    return direction


def projections(tensor: Tensor, directions: Array) -> Array:
    """Return the inner product of a tensor with each of `directions`, in float64.

    Raises:
        RunError: GC055 if the tensor, a custom gradient, does not have the directions' shape.
    """
    dense = to_array(tensor).astype(np.float64)
    if dense.shape != directions.shape[1:]:
        raise RunError(
            f"a gradient does not have the shape of its tensor, {directions.shape[1:]}. Received: {dense.shape}",
            code="GC055",
            help="return one gradient from a custom gradient for each argument, in its shape",
        )
    products: Array = directions.reshape(len(directions), -1) @ dense.reshape(-1)
    return products


def inner_product(tensors: Sequence[Any], directions: Sequence[Any]) -> Any:
    """Return the sum of the inner products of tensors and directions, in float32; in float64 if a tensor is."""
    terms = []
    for tensor, direction in zip(tensors, directions, strict=True):
        wide = tf.float64 if tensor.dtype == tf.float64 else tf.float32
        terms.append(tf.reduce_sum(tf.cast(tensor, wide) * tf.cast(direction, wide)))
    return tf.add_n(terms)


def described(count: int) -> str:
    """Return the words in a report for `count` directions."""
    return plural(count, "random direction")


@contextmanager
def standing_still(problem: Problem, tensors: Tensors) -> Iterator[Callable[[], None]]:
    """Yield a function that restores the current weights, state and seeds; they are restored at the end, too.

    Each run of a model that is measured repeatedly starts with it, so that all draw the same numbers. Restarting
    TensorFlow's own generators discards its compiled kernels, and is done only if the loss does not repeat without it.
    """
    now = Snapshot(movable_variables([problem.model, *problem.segments]))

    def restart() -> None:
        problem.state.restore()
        now.put_back()

    def loss() -> float:
        now.put_back()
        return float(whole_loss(problem, tensors).loss)

    restart()
    go_back = now.put_back if loss() == loss() else restart
    try:
        yield go_back
    finally:
        restart()


def noise_floors(
    problem: Problem, before: Sequence[Measured], measures: Sequence[Measure], keys: Collection[TensorKey]
) -> dict[TensorKey, float]:
    """Return how far the measured values move at most when weights and inputs are multiplied by 1±eps.

    Args:
        problem: the problem that was measured.
        before: the values of each of `measures` at the weights and inputs themselves.
        measures: called as `measure(tensors, keys)`, at the current weights.
        keys: the tensors whose floors are returned.
    """
    floors = dict.fromkeys(keys, 0.0)
    for run in range(NOISE_RUNS):
        with nudged(problem, run) as tensors:
            for measure, values in zip(measures, before, strict=True):
                for key, moved in measure(tensors, keys).items():
                    floors[key] = max(floors[key], movement(values[key], moved))
    return floors
