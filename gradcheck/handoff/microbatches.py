"""A batch divided into micro-batches, and their results joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.handoff.interface import Computed
from gradcheck.handoff.tensors import added, divided
from gradcheck.placement.devices import beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck.batch.slices import Slice
    from gradcheck.handoff.interface import Tensors
    from gradcheck.problem.problem import Problem, TensorKey


class MicroBatch(NamedTuple):
    """A slice of the batch with its weights: `scales` by term of the loss, `share` for the losses that layers add.

    None for the whole batch: all.
    """

    tensors: Tensors
    scales: tuple[float | None, ...] | None = None
    share: float | None = None


def micro_batches(problem: Problem, tensors: Tensors) -> list[MicroBatch]:
    """Return the slices of `tensors` that the problem runs over; the whole batch if it is not sliced."""
    if not problem.slices:
        return [MicroBatch(tensors)]
    return [MicroBatch(sliced(tensors, part), part.scales, part.share) for part in problem.slices]


def sliced(tensors: Tensors, part: Slice) -> Tensors:
    """Return the rows of `tensors` that are in `part`."""
    return tensors._replace(
        x=[part.of(tensor) for tensor in tensors.x],
        y=[part.of(tensor) for tensor in tensors.y],
        sample_weight=tensors.sample_weight and [part.of(tensor) for tensor in tensors.sample_weight],
    )


def accumulated(totals: dict[TensorKey, Any], gradients: Iterable[tuple[TensorKey, Any]]) -> None:
    """Add `gradients` to `totals`."""
    for key, gradient in gradients:
        totals[key] = added(totals.get(key), gradient)


def joined(parts: Sequence[Computed], weights: dict[TensorKey, Any], loss_scale: Any = None) -> Computed:
    """Return the results of micro-batches as if of one batch: losses summed, outputs and cotangents concatenated.

    Args:
        parts: by micro-batch; their gradients are those of inputs and boundaries.
        weights: the gradients of the weights, summed over the micro-batches.
        loss_scale: undone in the gradients of weights and inputs.
    """
    crossing = {key: _joined([part.gradients[key] for part in parts]) for key in parts[0].gradients}
    gradients = {**weights, **crossing}
    if loss_scale is not None:
        gradients = {key: g if key.kind == "boundary" else divided(g, loss_scale) for key, g in gradients.items()}
    outputs = [_joined(list(of_parts)) for of_parts in zip(*(part.outputs for part in parts), strict=True)]
    return Computed(parts[0].loss if len(parts) == 1 else tf.add_n([part.loss for part in parts]), outputs, gradients)


def _joined(parts: Sequence[Any]) -> Any:
    """Concatenate tensors along their first axis; stack scalars."""
    if len(parts) == 1 or parts[0] is None:
        return parts[0]
    with beside(parts[0]):
        return tf.concat([part if part.shape.rank else part[None] for part in parts], 0)
