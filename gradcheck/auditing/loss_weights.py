"""How much each summand of a loss weighs: whether it is a mean, a part of a mean, or a sum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from gradcheck.auditing.flow import Flow
    from gradcheck.auditing.step import Loss

#: Operations between the sum over a batch and the loss.
_NUMBERS = frozenset(
    {"Mul", "RealDiv", "DivNoNan", "AddV2", "Add", "AddN", "Sub", "Neg", "Identity", "Cast", "Reshape", "Squeeze"}
    | {"Pack", "Select", "SelectV2"}
)
#: A loss is scaled, not weighted, by a power of two of at least this.
LEAST_SCALE = 16.0


def masses(flow: Flow, loss: Loss) -> list[tuple[Any, int]]:
    """Return, for each sum or mean over many elements that a loss is made of, its weight and its number of elements.

    The weight is the sum of the derivatives of the loss by the elements: 1 for a mean, 1/k for a mean divided by k.
    """
    if loss.masses is not None:
        return loss.masses
    found: list[tuple[Any, int]] = []
    if loss.step is None or loss.target is None:
        return found
    summed = [
        flow.reductions[key]
        for key in flow.before([loss.target._id], through=lambda made: made.type in _NUMBERS)  # noqa: SLF001
        if key in flow.reductions
    ]
    for tensor in summed:
        by = loss.step.derivative(loss.target, loss.seed, {tensor._id: tensor})[tensor._id]  # noqa: SLF001
        if by is not None:
            found.append((tf.reduce_sum(tf.cast(by, tf.float32)), int(tensor.shape.num_elements() or 0)))
    return found


def scale_of(flow: Flow, loss: Loss) -> float:
    """Return the constant that a loss was multiplied by last; 1.0 if there is none."""
    if loss.target is None:
        return loss.scale
    key = loss.target._id  # noqa: SLF001
    factor = 1.0
    while True:
        op = flow.op(key)
        if key in flow.factors:
            key, one = flow.factors[key]
            factor *= one
        elif op is not None and op.type in ("Cast", "Identity", "Reshape"):
            key = op.inputs[0]
        else:
            break
    loss.scale = factor
    return factor


def is_scale(factor: float, examples: int) -> bool:
    """Whether a factor is one by which losses are scaled for half precision: a power of two above the batch size."""
    if not math.isfinite(factor) or factor < max(LEAST_SCALE, examples + 1):
        return False
    return math.log2(factor).is_integer()
