"""GC101: a segment is differentiated as if its own output were the loss."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.places import AtBoundaries, at_boundaries, at_tensors
from gradcheck.handoff.split import HandOff
from gradcheck.handoff.tensors import is_differentiable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.split import LossGradients
    from gradcheck.problem.problem import Problem


class CotangentMissing(Fault):
    """`tape.gradient` without `output_gradients`, or with None for them: TensorFlow uses ones."""

    code = "GC101"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the fault at the loss, at each boundary, and at all boundaries."""
        last = max(s.plan.index for s in problem.segments if set(s.plan.outputs) & set(problem.graph.outputs))
        yield Injection(
            code=self.code,
            place=Place(text="the loss", segment=last),
            effect="the model's outputs were differentiated with ones instead of dLoss/d(output)",
            steps=LossLeftOut,
        )
        effect = "{} was differentiated with ones instead of dLoss/d(boundary)"
        change = partial(SeededWithOnes, problem)
        yield from at_boundaries(problem, self.code, change, effect)
        yield from at_tensors(problem, self.code, change, effect)


class SeededWithOnes(AtBoundaries):
    """The hand-off in which the seeds of some boundary tensors are ones."""

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """Return ones in place of the cotangent."""
        if ref not in self.refs or not is_differentiable(output):
            return super().cotangent(segment, ref, output, cotangent)
        return tf.ones_like(output)


class LossLeftOut(HandOff):
    """The hand-off that differentiates the outputs in place of the loss: with ones, and without added losses."""

    def loss_cotangents(self, at_loss: LossGradients) -> LossGradients:
        """Return ones for every output, and no cotangents of hidden logits."""
        seeds = [tf.ones_like(output) if is_differentiable(output) else None for output in at_loss.outputs]
        return at_loss._replace(seeds=seeds, hidden={})

    def share_of_added_loss(self, segment: Segment, share: float) -> float:  # noqa: ARG002 - as the right step
        """Return 0: added losses are not part of an output."""
        return 0.0
