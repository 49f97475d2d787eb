"""The split model's gradients: one tape per segment, the chain rule carried between them by hand.

For segments f_1 … f_n with boundaries b_k = f_k(b_{k-1}; w_k) and loss L(b_n), the backward pass goes from the last
segment to the first with the cotangent c_k = dL/db_k:

    dL/dw_k = c_k · ∂f_k/∂w_k        c_{k-1} = c_k · ∂f_k/∂b_{k-1}

each a vector-Jacobian product that `tape.gradient` computes for the seed `output_gradients=c_k`. Where a skip
connection crosses a cut the boundary is several tensors, and a tensor with several consumers sums what each of them
sends back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.gradients.interface import Computed
from gradcheck.gradients.tensors import added, dense, gradients_of, is_differentiable, summed
from gradcheck.models.graph import MODEL_INPUT, TensorRef
from gradcheck.models.replay import copied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.gradients.interface import Tensors
    from gradcheck.models.problem import Problem, TensorKey
    from gradcheck.models.segment import Segment


@dataclass(frozen=True, eq=False, kw_only=True)
class Pass:
    """What the backward pass of a segment needs of its forward pass."""

    segment: Segment
    tape: tf.GradientTape
    inputs: list[Any]
    outputs: list[Any]
    extra: Any  # what the segment adds to the loss, or None


class HandOff:
    """The steps of the hand-off between segments, each one right. A method, a fault or a control changes one."""

    #: Whether a segment's tape is asked more than once.
    persistent = False

    def forward(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """The outputs of `segment`, in the order of its plan."""
        outputs = segment(list(inputs), training=training)
        return outputs if isinstance(outputs, list) else [outputs]

    def cross(self, segment: Segment, ref: TensorRef, tensor: Any) -> Any:  # noqa: ARG002 - what an override may need
        """What `segment` gets for `ref`: a tensor of its own, that its tape can tell from every other."""
        return copied(tensor)

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:  # noqa: ARG002 - as above
        """dLoss/dOutput for an output of `segment`: its seed. None where nothing came back."""
        return cotangent

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """The sum over `targets` of seed · dTarget/dSource, for each of `sources`: a vector-Jacobian product."""
        return gradients_of(done.tape, targets, sources, seeds)


def split(problem: Problem, tensors: Tensors, steps: HandOff | None = None) -> Computed:
    """Loss, outputs and every gradient of the split model."""
    steps = steps or HandOff()
    values = {TensorRef(MODEL_INPUT, i): tensor for i, tensor in enumerate(tensors.x)}
    passes: list[Pass] = []
    for segment in problem.segments:
        passes.append(_forward(problem, segment, values, steps))
        values.update(zip(segment.plan.outputs, passes[-1].outputs, strict=True))

    outputs = [values[ref] for ref in problem.graph.outputs]
    loss, seeds = loss_gradients(problem, tensors, outputs)
    cotangents: dict[TensorRef, Any] = {}
    for ref, seed in zip(problem.graph.outputs, seeds, strict=True):
        cotangents[ref] = added(cotangents.get(ref), seed)

    weights: dict[TensorKey, Any] = {weight.key: None for weight in problem.weights}
    while passes:  # from the last to the first; a tape and its activations are freed once used
        done = passes.pop()
        loss = loss if done.extra is None else loss + tf.cast(done.extra, loss.dtype)
        for ref, gradient in zip(
            done.segment.plan.inputs, _backward(problem, done, cotangents, weights, steps), strict=True
        ):
            cotangents[ref] = added(cotangents.get(ref), dense(gradient))
    return Computed(loss, outputs, {**weights, **problem.crossing(cotangents)})


def _forward(problem: Problem, segment: Segment, values: dict[TensorRef, Any], steps: HandOff) -> Pass:
    """One segment under its own tape."""
    inputs = [steps.cross(segment, ref, values[ref]) for ref in segment.plan.inputs]
    with tf.GradientTape(persistent=steps.persistent) as tape:
        tape.watch([tensor for tensor in inputs if is_differentiable(tensor)])
        outputs = steps.forward(segment, inputs, training=problem.training)
        extra = summed(segment.losses)
    return Pass(segment=segment, tape=tape, inputs=inputs, outputs=outputs, extra=extra)


def _backward(
    problem: Problem,
    done: Pass,
    cotangents: dict[TensorRef, Any],
    weights: dict[TensorKey, Any],
    steps: HandOff,
) -> list[Any]:
    """Adds one segment's weight gradients to `weights`, and returns dLoss/dInput for each of its inputs."""
    pairs = [
        (output, steps.cotangent(done.segment, ref, output, cotangents.get(ref)))
        for ref, output in zip(done.segment.plan.outputs, done.outputs, strict=True)
    ]
    pairs = [(output, seed) for output, seed in pairs if seed is not None]
    if done.extra is not None:
        pairs.append((done.extra, tf.ones_like(done.extra)))
    plan, variables = done.segment.plan, done.segment.trainable_variables
    reused = {ref: output for ref, output in zip(plan.outputs, done.outputs, strict=True) if ref in plan.reused}
    sources = [*done.inputs, *reused.values(), *(v.value for v in variables)]
    targets, seeds = [output for output, _ in pairs], [seed for _, seed in pairs]
    gradients = iter(steps.pull_back(done, targets, seeds, sources))
    handed_back = list(islice(gradients, len(done.inputs)))
    for ref in reused:  # what came back from later segments, and what calls of this segment add to it
        cotangents[ref] = dense(next(gradients))
    for variable, gradient in zip(variables, gradients, strict=True):
        key = problem.counterparts[id(variable)].key
        weights[key] = added(weights[key], gradient)
    return handed_back


def loss_gradients(problem: Problem, tensors: Tensors, outputs: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The data loss, and its gradient with respect to each output."""
    with tf.GradientTape() as tape:
        outputs = [copied(output) for output in outputs]
        tape.watch([output for output in outputs if is_differentiable(output)])
        loss = problem.loss(tensors.y, outputs, tensors.sample_weight)
    return loss, [dense(gradient) for gradient in gradients_of(tape, [loss], outputs)]
