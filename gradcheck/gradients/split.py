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
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.gradients.interface import Computed
from gradcheck.gradients.tensors import added, dense, gradients_of, summed, total_loss, watch
from gradcheck.models.graph import MODEL_INPUT, TensorRef
from gradcheck.models.replay import copied, entered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.gradients.interface import Tensors
    from gradcheck.models.problem import Problem, TensorKey
    from gradcheck.models.segment import Segment


@dataclass(frozen=True, eq=False, kw_only=True)
class Pass:
    """What the backward pass of a segment needs of its forward pass. `tape` is None where nothing was recorded."""

    segment: Segment
    tape: tf.GradientTape | None
    inputs: list[Any]
    outputs: list[Any]
    extra: Any  # what the segment adds to the loss, or None


class HandOff:
    """The steps of the hand-off between segments, each one right. A method, a fault or a control changes one."""

    #: Whether a segment's tape is asked more than once.
    persistent = False

    def tape(self) -> Any:
        """What records a forward pass and is asked for gradients."""
        return tf.GradientTape(persistent=self.persistent)

    def run(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> Pass:
        """The forward pass of `segment`, under a tape of its own."""
        with self.tape() as tape:
            watch(tape, inputs)
            outputs = self.forward(segment, inputs, training=training)
            extra = summed(segment.losses)
        return Pass(segment=segment, tape=tape, inputs=list(inputs), outputs=outputs, extra=extra)

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

    def resumed(self, done: Pass, cotangents: Sequence[Any]) -> Pass:  # noqa: ARG002 - as above
        """The forward pass as the backward pass takes it up, once the `cotangents` of its outputs are known."""
        return done

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """The sum over `targets` of seed · dTarget/dSource, for each of `sources`: a vector-Jacobian product."""
        return gradients_of(done.tape, targets, sources, seeds)


def split(problem: Problem, tensors: Tensors, steps: HandOff | None = None) -> Computed:
    """Loss, outputs and every gradient of the split model."""
    steps = steps or HandOff()
    values = {TensorRef(MODEL_INPUT, i): tensor for i, tensor in enumerate(tensors.x)}
    passes: list[Pass] = []
    for segment in problem.segments:
        inputs = [steps.cross(segment, ref, values[ref]) for ref in segment.plan.inputs]
        passes.append(steps.run(segment, inputs, training=problem.training))
        values.update(zip(segment.plan.outputs, passes[-1].outputs, strict=True))

    ends = [values[ref] for ref in problem.graph.outputs]
    loss, outputs, seeds = loss_gradients(problem, tensors, ends, steps)
    loss = total_loss(loss, [done.extra for done in passes if done.extra is not None])
    cotangents: dict[TensorRef, Any] = {}
    for ref, seed in zip(problem.graph.outputs, seeds, strict=True):
        cotangents[ref] = added(cotangents.get(ref), seed)

    weights: dict[TensorKey, Any] = {weight.key: None for weight in problem.weights}
    while passes:  # from the last to the first; a tape and its activations are freed once used
        _backward(problem, passes.pop(), cotangents, weights, steps)
    return Computed(loss, outputs, {**weights, **problem.crossing(cotangents)})


def _backward(
    problem: Problem,
    done: Pass,
    cotangents: dict[TensorRef, Any],
    weights: dict[TensorKey, Any],
    steps: HandOff,
) -> None:
    """One segment's part of the chain rule: adds to `weights`, and to the `cotangents` of what the segment took."""
    segment, plan = done.segment, done.segment.plan
    done = steps.resumed(done, [cotangents[ref] for ref in plan.outputs if cotangents.get(ref) is not None])
    pairs = [
        (output, steps.cotangent(segment, ref, output, cotangents.get(ref)))
        for ref, output in zip(plan.outputs, done.outputs, strict=True)
    ]
    pairs = [(output, seed) for output, seed in pairs if seed is not None]
    if done.extra is not None:
        pairs.append((done.extra, tf.ones_like(done.extra)))
    variables = problem.used_variables(done.tape)
    reused = {ref: output for ref, output in zip(plan.outputs, done.outputs, strict=True) if ref in plan.reused}
    sources = [*done.inputs, *reused.values(), *variables]
    targets, seeds = [output for output, _ in pairs], [seed for _, seed in pairs]
    gradients = iter(steps.pull_back(done, targets, seeds, sources))
    for ref in plan.inputs:
        cotangents[ref] = added(cotangents.get(ref), dense(next(gradients)))
    for ref in reused:  # what came back from later segments, and what calls of this segment add to it
        cotangents[ref] = dense(next(gradients))
    for variable, gradient in zip(variables, gradients, strict=True):
        key = problem.counterparts[id(variable)].key
        weights[key] = added(weights[key], gradient)


def loss_gradients(
    problem: Problem, tensors: Tensors, outputs: Sequence[Any], steps: HandOff
) -> tuple[Any, list[Any], list[Any]]:
    """The data loss, the model's outputs, and the loss's gradient with respect to each tensor that they are made of."""
    with steps.tape() as tape:
        given = [copied(output) for output in outputs]
        watch(tape, given)
        final = [entered(source, tensor) for source, tensor in zip(problem.graph.output_sources, given, strict=True)]
        loss = problem.loss(tensors.y, final, tensors.sample_weight)
    return loss, final, [dense(gradient) for gradient in gradients_of(tape, [loss], given)]
