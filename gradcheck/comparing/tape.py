"""The reference: the whole model, run by Keras itself, under one tape."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.cutting.run_calls import copied, tapped
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
    model, crossing, tensors = problem.model, problem.whole_boundaries, part.tensors
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
    return Computed(loss, outputs, crossed), dict(zip(sources, gradients, strict=False))


def _taps(
    problem: Problem, crossing: Collection[TensorRef], on_tap: Callable[[Any], None]
) -> AbstractContextManager[dict[TensorRef, Any]]:
    """Return the taps at the boundaries; none if the split model's layers are not the whole model's."""
    return tapped(problem.whole_graph, crossing, on_tap) if problem.shares_graph else nullcontext({})
