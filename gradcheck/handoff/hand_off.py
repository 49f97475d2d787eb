"""The steps of the hand-off between segments, each of which a method or a fault may change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import tensorflow as tf

from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.schedule import order
from gradcheck.handoff.tensors import gradients_of, is_differentiable, summed, watch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment, SegmentFunction
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.handoff.split import LossGradients, MicroBatchPasses
    from gradcheck.problem.problem import Problem, TensorKey

Direction: TypeAlias = Literal["forward", "backward"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Pass:
    """The forward record of a segment, for its backward pass. `tape` is None where nothing was recorded."""

    segment: Segment
    tape: tf.GradientTape | None
    inputs: list[Any]
    outputs: list[Any]
    added_loss: Any  # what the segment adds to the loss, or None
    function: SegmentFunction | None = None  # what was run, if it was not the segment itself

    @property
    def reused(self) -> Mapping[TensorRef, Any]:
        """For each output that calls of the segment take as well, the tensor whose gradient is its own."""
        plan = self.segment.plan
        outputs = {ref: out for ref, out in zip(plan.outputs, self.outputs, strict=True) if ref in plan.reused}
        return self.function.taps if self.function else outputs


class NoCotangent(Exception):  # noqa: N818 - no error: another way is taken
    """An output of a traced segment has no cotangent: it must run eagerly, which keeps None apart from zeros."""


class HandOff:
    """The steps of the hand-off between segments, each one right. A method, a fault or a control changes one."""

    #: Whether a segment's tape is asked more than once.
    persistent = False
    #: Whether a forward pass differs from the right one, or is run again: then none can be shared with it.
    changes_forward = False
    #: The index of the last segment that a change of `cotangent` concerns; None if that is not known.
    last: int | None = None

    @property
    def changed(self) -> frozenset[str]:
        """The names of the steps that differ from the right ones."""
        own = type(self)
        return frozenset(
            n
            for n, step in vars(HandOff).items()
            if callable(step) and not n.startswith("_") and getattr(own, n) is not step
        )

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """Return the micro-batches with their weights."""
        return parts

    def drive(self, problem: Problem, all_passes: Sequence[MicroBatchPasses], *, only: Direction | None = None) -> None:
        """Run every micro-batch forward and backward through every segment, as scheduled; `only` one way if given."""
        for work in order(problem.schedule, len(problem.segments), len(all_passes)):
            passes, segment = all_passes[work.microbatch], problem.segments[work.stage]
            # All of it on the segment's device: the boundaries that it takes are copied there, and the cotangents.
            with segment.on_device():
                if work.backward and only != "forward":
                    passes.backward(segment)
                elif not work.backward and only != "backward":
                    passes.forward(segment)

    def tape(self) -> Any:
        """Return the tape of one forward pass."""
        return tf.GradientTape(persistent=self.persistent)

    def run(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> Pass:
        """Run the forward pass of `segment` under a tape of its own."""
        with self.tape() as tape:
            function = segment.function if type(self).forward is HandOff.forward else None
            watch(tape, [*inputs, *(function.taps.values() if function else ())])
            outputs = (function or partial(self.forward, segment))(inputs, training=training)
            added_loss = self.added(segment)
        return Pass(
            segment=segment,
            tape=tape,
            inputs=list(inputs),
            outputs=outputs,
            added_loss=added_loss,
            function=function,
        )

    def forward(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the outputs of `segment`, in the order of its plan."""
        outputs = segment(list(inputs), training=training)
        return outputs if isinstance(outputs, list) else [outputs]

    def added(self, segment: Segment) -> Any:
        """Return the loss that `segment` added in the forward pass that has just run, or None."""
        return summed(segment.losses)

    def cross(self, segment: Segment, ref: TensorRef, tensor: Any) -> Any:  # noqa: ARG002 - what an override may need
        """Copy the tensor that crosses, so that the tape of `segment` can tell it from every other tensor."""
        return copied(tensor)

    def loss(self, problem: Problem, part: MicroBatch, outputs: Sequence[Any]) -> Any:
        """Return the data loss of a micro-batch."""
        return problem.loss(part.tensors.y, outputs, part.tensors.sample_weight, part.scales)

    def loss_cotangents(self, at_loss: LossGradients) -> LossGradients:
        """Hook on the loss and its gradients for the model's outputs, before the backward pass starts."""
        return at_loss

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:  # noqa: ARG002 - as above
        """dLoss/dOutput for an output of `segment`: its seed. None where nothing came back."""
        return cotangent

    def forward_record(self, done: Pass, cotangents: Sequence[Any]) -> Pass:  # noqa: ARG002 - as above
        """Return the forward record that the backward pass differentiates. Override to recompute it.

        `cotangents` are those of the outputs, as far as there are any.
        """
        return done

    def share_of_added_loss(self, segment: Segment, share: float) -> float:  # noqa: ARG002 - as above
        """Return the weight of the loss that `segment` adds: the micro-batch's share of the batch, 1 for all of it."""
        return share

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """Return the sum over `targets` of seed · dTarget/dSource for each of `sources`: a vector-Jacobian product.

        Raises:
            NoCotangent: if a traced segment has an output that is not among `targets`.
        """
        if done.function and {id(out) for out in done.outputs if is_differentiable(out)} - set(map(id, targets)):
            raise NoCotangent
        return gradients_of(done.tape, targets, sources, seeds)

    def input_cotangent(self, segment: Segment, ref: TensorRef, gradient: Any) -> Any:  # noqa: ARG002 - as above
        """Return the part of the cotangent of `ref`, an input of `segment`, that this segment contributes."""
        return gradient

    def contribution(self, segment: Segment, key: TensorKey, gradient: Any) -> Any:  # noqa: ARG002 - as above
        """Return the part of a weight's gradient that `segment` contributes."""
        return gradient
