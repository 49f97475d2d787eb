"""How much each summand of a loss weighs: whether it is a mean, a part of a mean, or a sum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.auditing.judging.changes import NEAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.auditing.observing.flow import Flow
    from gradcheck.auditing.observing.script_step import ServedLoss

#: Operations between the sum over a batch and the loss.
_NUMBERS = frozenset(
    {"Mul", "RealDiv", "DivNoNan", "AddV2", "Add", "AddN", "Sub", "Neg", "Identity", "Cast", "Reshape", "Squeeze"}
    | {"Pack", "Select", "SelectV2"}
)
#: A loss is scaled, not weighted, by a power of two of at least this.
LEAST_SCALE = 16.0


def masses(flow: Flow, loss: ServedLoss) -> list[tuple[Any, int]]:
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
    loss.masses = found
    return found


def slices(flow: Flow, losses: Sequence[ServedLoss]) -> list[list[ServedLoss]]:
    """Return the losses in groups: those of one line and the same variables, of data of their own, are slices.

    Two tasks on one batch share activations, or have variables of their own.
    """
    groups: list[list[ServedLoss]] = []
    for loss in losses:
        of_slices = next((group for group in groups if all(_are_slices(flow, loss, other) for other in group)), None)
        if of_slices is None:
            groups.append(of_slices := [])
        of_slices.append(loss)
    return groups


def _are_slices(flow: Flow, loss: ServedLoss, other: ServedLoss) -> bool:
    if loss.line != other.line:
        return False
    (variables, activations), (of_other, others) = (_made_of(flow, one) for one in (loss, other))
    if loss.tape == other.tape:
        return variables == of_other and not activations & others
    return variables == of_other or not variables & of_other  # replicas have variables of their own


def _made_of(flow: Flow, loss: ServedLoss) -> tuple[set[int], set[int]]:
    """Return the handles of the variables that a loss was made of, and the tensors that a tape recorded on the way."""
    if loss.made_of is not None:
        return loss.made_of
    variables: set[int] = set()
    activations: set[int] = set()
    for key in flow.before([] if loss.target is None else [loss.target._id]):  # noqa: SLF001
        made = flow.op(key)
        if made is not None and made.type == "ReadVariableOp":
            variables.add(flow.handle(made.inputs[0]))
        elif made is not None and made.tapes:
            activations.add(key)
    loss.made_of = variables, activations
    return loss.made_of


def scale_of(flow: Flow, loss: ServedLoss) -> float:
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


def slice_weights(
    sizes: Sequence[int], of_losses: Sequence[Sequence[tuple[float, int]]]
) -> tuple[list[float | None], list[int]]:
    """Return the weight of each loss in the gradient of the whole batch, None if that is open, and its elements.

    Args:
        sizes: the numbers of losses of one source line: more than one are slices of a batch.
        of_losses: the `masses` of each loss; empty if every size is one.
    """
    weights: list[float | None] = []
    counts: list[int] = []
    start = 0
    for size in sizes:
        of_group = list(of_losses[start : start + size])
        start += size
        if size == 1 or not all(of_group):
            weights += [1.0] * size if size == 1 else [None] * size
            counts += [one[0][1] if one else 1 for one in of_group] or [1] * size
            continue
        branches = range(min(len(one) for one in of_group))
        means = [b for b in branches if all(abs(one[b][0] - 1) < NEAR for one in of_group)]
        parts = [b for b in branches if abs(sum(one[b][0] for one in of_group) - 1) < NEAR]
        branch = (means or parts or [0])[0]
        number = [one[branch][1] for one in of_group]
        counts += number
        if means and not parts:
            weights += [n / sum(number) for n in number]
        elif parts and not means:
            weights += [1.0] * size
        else:
            weights += [None] * size
    return weights, counts
