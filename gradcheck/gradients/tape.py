"""The reference: the whole model, run by Keras itself, under one tape."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.gradients.interface import Computed
from gradcheck.gradients.tensors import dense, gradients_of, is_differentiable, total_loss
from gradcheck.models.replay import copied, tapped

if TYPE_CHECKING:
    from gradcheck.gradients.interface import Tensors
    from gradcheck.models.graph import TensorRef
    from gradcheck.models.problem import Problem, TensorKey


def monolithic(problem: Problem, tensors: Tensors) -> Computed:
    """Loss, outputs and every gradient of the whole model under one `tf.GradientTape`.

    A boundary's gradient is taken at a copy of the tensor that crosses, so that it holds what the boundary's consumers
    send back and nothing else.
    """
    model, crossing = problem.model, problem.plan.boundaries if problem.plan and problem.shares_graph else {}
    watch: AbstractContextManager[dict[TensorRef, Any]] = (
        tapped(problem.graph, crossing) if problem.shares_graph else nullcontext({})
    )
    with tf.GradientTape() as tape:
        x = [copied(tensor) for tensor in tensors.x]
        tape.watch([tensor for tensor in x if is_differentiable(tensor)])
        with watch as taps:
            outputs = keras.tree.flatten(model(problem.model_inputs(x), training=problem.training))
        loss = total_loss(problem.loss(tensors.y, outputs, tensors.sample_weight), model.losses)
    sources: dict[TensorKey, Any] = {weight.key: weight.variable.value for weight in problem.weights}
    inputs = {problem.input_key(i): tensor for i, tensor in enumerate(x)}
    inputs |= {problem.boundary_key(ref): taps[ref] for ref in crossing}
    gradients = gradients_of(tape, [loss], [*sources.values(), *inputs.values()])
    weights = dict(zip(sources, gradients, strict=False))
    crossed = {key: dense(g) for key, g in zip(inputs, gradients[len(sources) :], strict=True)}
    return Computed(loss, outputs, {**weights, **crossed})
