"""The split model as one callable, for a loss that calls the model itself and may differentiate it.

Each segment runs as a function with a custom gradient, which is the hand-off's own: its tape is seeded with the
cotangents of its outputs. A derivative that the loss takes, as of the outputs with respect to the inputs, so goes from
segment to segment, and so does the derivative of that one: the tape's answer is made of operations on the segment's
inputs, activations and weights, which an outer tape has recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.endpoints import packed_outputs
from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef
from gradcheck.cutting.run_calls import entered
from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.hand_off import HandOff, Pass
from gradcheck.handoff.interface import Computed
from gradcheck.handoff.microbatches import accumulated, joined, micro_batches
from gradcheck.handoff.tensors import dense, gradients_of, is_differentiable, scaled, total_loss, watch
from gradcheck.keras_private import mask_of, set_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.interface import Tensors
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem, TensorKey


def split_by_model(problem: Problem, tensors: Tensors, steps: HandOff) -> Computed:
    """Return loss and gradients of the split model for a loss that calls it; there is no one output or boundary."""
    weights: dict[TensorKey, Any] = {weight.key: None for weight in problem.weights}
    parts = []
    for part in steps.sliced(micro_batches(problem, tensors)):
        computed, of_weights = _differentiated(problem, part, steps)
        accumulated(weights, of_weights.items())
        parts.append(computed)
    return joined(parts, weights, tensors.loss_scale)


def _differentiated(problem: Problem, part: MicroBatch, steps: HandOff) -> tuple[Computed, dict[TensorKey, Any]]:
    """Return the loss with the gradients of the inputs, and those of the weights."""
    tensors, model = part.tensors, SplitModel(problem, steps)
    with tf.GradientTape() as tape:
        x = [copied(tensor) for tensor in tensors.x]
        watch(tape, x)
        inputs = problem.model_inputs(x)
        data_loss = problem.loss.by_model(
            model, inputs, tensors.y, tensors.sample_weight, training=problem.training, scales=part.scales
        )
        share = 1.0 if part.share is None else part.share
        shares = [scaled(added, steps.share_of_added_loss(segment, share)) for segment, added in model.added]
        loss = total_loss(data_loss, shares)
        target = scaled(loss, tensors.loss_scale)
    variables = problem.used_variables(tape)
    gradients = gradients_of(tape, [target], [*variables, *x])
    of_weights: dict[TensorKey, Any] = {}
    keys = [problem.counterparts[id(variable)].key for variable in variables]
    accumulated(of_weights, zip(keys, gradients, strict=False))
    of_inputs = {problem.input_key(i): dense(g) for i, g in enumerate(gradients[len(variables) :])}
    return Computed(loss, [], of_inputs), of_weights


class SplitModel:
    """What a loss calls in place of the model: the segments, one after another.

    Attributes:
        added: the losses that layers added in the last call, each with the segment that added it.
    """

    def __init__(self, problem: Problem, steps: HandOff) -> None:
        """Take the segments of `problem`, between which `steps` hands on."""
        self._problem, self._steps = problem, steps
        self.added: list[tuple[Segment, Any]] = []

    def __call__(self, x: Any, training: bool | None = None) -> Any:  # noqa: FBT001 - as Keras's models are called
        """Return the outputs for `x`, in the structures of the model itself."""
        flat, inputs = keras.tree.flatten(x), self._problem.model.inputs
        given = [tf.cast(tensor, like.dtype) for tensor, like in zip(flat, inputs, strict=True)]
        values = {TensorRef(MODEL_INPUT, i): tensor for i, tensor in enumerate(given)}
        self.added = []
        for segment in self._problem.segments:
            outputs = self._run(segment, [values[ref] for ref in segment.plan.inputs], training=bool(training))
            values.update(zip(segment.plan.outputs, outputs, strict=True))
        sources = self._problem.graph.output_sources
        return packed_outputs(self._problem.model, [entered(source, values[source.ref]) for source in sources])

    def __getattr__(self, name: str) -> Any:
        """Refuse what only a whole model has.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            f"the model is split here, and can only be called: it has no `{name}`. A loss that takes more of the model "
            "goes with methods that do not split it: numeric, forward, candidate"
        )

    def _run(self, segment: Segment, tensors: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the outputs of one segment, whose gradient is the hand-off's."""
        steps, made = self._steps, list[Pass]()
        crossed = [
            _connected(steps.cross(segment, ref, tensor), tensor)
            for ref, tensor in zip(segment.plan.inputs, tensors, strict=True)
        ]
        masks = [mask_of(tensor) for tensor in crossed]

        def run(*given: Any) -> tuple[Any, Any]:
            for tensor, mask in zip(given, masks, strict=True):
                if mask is not None:
                    set_mask(tensor, mask)
            # Persistent: the loss's own tapes ask it, and then those around them.
            with tf.GradientTape(persistent=True) as tape:
                watch(tape, given)
                outputs = steps.forward(segment, given, training=training)
                added_loss = steps.added(segment)
            done = Pass(segment=segment, tape=tape, inputs=list(given), outputs=outputs, added_loss=added_loss)
            made.append(done)
            results = [*outputs, *([] if added_loss is None else [added_loss])]
            return results, self._backward(done, results)

        results = list(tf.custom_gradient(run)(*crossed))
        count = len(segment.plan.outputs)
        self.added += [(segment, added) for added in results[count:]]
        for output, original in zip(results[:count], made[0].outputs, strict=True):
            if mask_of(original) is not None:
                set_mask(output, mask_of(original))
        return results[:count]

    def _backward(self, done: Pass, results: Sequence[Any]) -> Any:
        """Return the gradient function of a segment that has run: from its cotangents to those of its inputs."""
        steps, segment = self._steps, done.segment

        def backward(*cotangents: Any, variables: Sequence[Any] = ()) -> Any:
            pairs = []
            for index, (result, cotangent) in enumerate(zip(results, cotangents, strict=True)):
                if not is_differentiable(result):
                    continue
                crosses = index < len(segment.plan.outputs)
                ref = segment.plan.outputs[index] if crosses else None
                seed = steps.cotangent(segment, ref, result, cotangent) if ref is not None else cotangent
                pairs += [(result, seed)] if seed is not None else []
            targets, seeds = [target for target, _ in pairs], [seed for _, seed in pairs]
            found = steps.pull_back(done, targets, seeds, [*done.inputs, *variables])
            count = len(done.inputs)
            inputs = [
                _or_zeros(steps.input_cotangent(segment, ref, dense(g)), tensor)
                for ref, g, tensor in zip(segment.plan.inputs, found, done.inputs, strict=False)
            ]
            keys = [self._problem.counterparts.get(id(variable)) for variable in variables]
            weights = [
                dense(gradient if weight is None else steps.contribution(segment, weight.key, gradient))
                for weight, gradient in zip(keys, found[count:], strict=True)
            ]
            return (inputs, weights) if variables else inputs

        return backward


def _connected(crossed: Any, origin: Any) -> Any:
    """Return `crossed` with a gradient to `origin`, zero if it has none: a loss's own code does not expect None."""
    if not is_differentiable(origin):
        return crossed

    def connected(first: Any, second: Any) -> tuple[Any, Any]:
        return tf.identity(first), lambda gradient: (gradient, tf.zeros_like(second))

    return copied(crossed, by=lambda tensor: tf.custom_gradient(connected)(tensor, origin))


def _or_zeros(gradient: Any, tensor: Any) -> Any:
    """Return a gradient of `tensor`, zeros for None if it can have one."""
    return tf.zeros_like(tensor) if gradient is None and is_differentiable(tensor) else gradient
