"""The reference: the whole model, run by Keras itself, under one tape."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.state import Moment
from gradcheck.cutting.run_calls import tapped
from gradcheck.cutting.segment import WholeGraph
from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.interface import Computed
from gradcheck.handoff.microbatches import accumulated, joined, micro_batches
from gradcheck.handoff.tensors import dense, gradients_of, scaled, total_loss, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.handoff.interface import Tensors
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem, TensorKey


def monolithic(problem: Problem, tensors: Tensors) -> Computed:
    """Return the loss, the outputs and every gradient of the whole model, under one `tf.GradientTape`.

    With micro-batches the whole model runs over the same slices, one after another.
    """
    weights: dict[TensorKey, Any] = {}
    parts = []
    for part in micro_batches(problem, tensors):
        computed, of_weights = _whole(problem, part)
        accumulated(weights, of_weights.items())
        parts.append(computed)
    return joined(parts, weights, tensors.loss_scale)


def _whole(problem: Problem, part: MicroBatch) -> tuple[Computed, dict[TensorKey, Any]]:
    """Return loss, outputs and the gradients of inputs and boundaries for one batch, then those of the weights.

    A boundary's gradient is taken at a copy of the tensor that crosses, so that it contains what the boundary's
    consumers contribute and nothing else.
    """
    model, tensors = problem.model, part.tensors
    traced = bool(problem.whole_graph.opened)
    crossing = {} if traced else problem.whole_boundaries
    of_boundaries = _traced_boundaries(problem, part) if traced else {}
    with tf.GradientTape() as tape:
        x = [copied(tensor) for tensor in tensors.x]
        watch(tape, x)
        with _taps(problem, set(crossing.values()), lambda tap: watch(tape, [tap])) as taps:
            outputs = keras.tree.flatten(model(problem.model_inputs(x), training=problem.training))
        data_loss = problem.loss(tensors.y, outputs, tensors.sample_weight, part.scales)
        # `model.losses` are those of the latest call, so they are added under the tape, before the next slice runs.
        loss = total_loss(data_loss, model.losses, part.share)
        # The scaled loss is differentiated, as in mixed precision: small gradients underflow otherwise.
        target = scaled(loss, tensors.loss_scale)
    sources: dict[TensorKey, Any] = {weight.key: weight.variable.value for weight in problem.weights}
    inputs = {problem.input_key(i): tensor for i, tensor in enumerate(x)}
    inputs |= {problem.boundary_key(ref): taps[there] for ref, there in crossing.items()}
    gradients = gradients_of(tape, [target], [*sources.values(), *inputs.values()])
    # Weights' gradients stay sparse: a dense one of a large embedding may not fit in memory.
    crossed = {key: dense(g) for key, g in zip(inputs, gradients[len(sources) :], strict=True)}
    return Computed(loss, outputs, crossed | of_boundaries), dict(zip(sources, gradients, strict=False))


def _traced_boundaries(problem: Problem, part: MicroBatch) -> dict[TensorKey, Any]:
    """Return the cotangents of boundaries that lie inside a layer's own `call`, where no tensor can be copied.

    They are those of the calls that were traced, run under one tape; preparing the problem has held these against the
    model itself. The state afterwards is that before.
    """
    graph, crossing, tensors = problem.whole_graph, problem.whole_boundaries, part.tensors
    if not crossing:
        return {}
    before = Moment(problem.state.movable)
    with tf.GradientTape() as tape:
        x = [copied(tensor) for tensor in tensors.x]
        watch(tape, x)
        whole = WholeGraph(
            graph,
            dtype=problem.model.dtype_policy,
            separate=set(crossing.values()),
            on_copy=lambda copy: watch(tape, [copy]),
        )
        outputs = whole(x, training=problem.training)
        data_loss = problem.loss(tensors.y, outputs, tensors.sample_weight, part.scales)
        target = scaled(total_loss(data_loss, whole.segment.losses, part.share), tensors.loss_scale)
    before.put_back()
    keys = {problem.boundary_key(ref): whole.copies[there] for ref, there in crossing.items()}
    return dict(zip(keys, map(dense, gradients_of(tape, [target], list(keys.values()))), strict=True))


def _taps(
    problem: Problem, crossing: Collection[TensorRef], on_tap: Callable[[Any], None]
) -> AbstractContextManager[dict[TensorRef, Any]]:
    """Return the taps at the boundaries; none if nothing crosses where Keras's own graph can be tapped."""
    return tapped(problem.whole_graph, crossing, on_tap) if crossing else nullcontext({})
