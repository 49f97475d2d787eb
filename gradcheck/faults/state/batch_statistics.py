"""GC301: statistics over the batch, or a loss that compares its examples, are computed over other slices of it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.batch.slices import make_slices
from gradcheck.faults.accumulation.slicing import new_sizes, over
from gradcheck.faults.interface import Fault, Injection
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.microbatches import MicroBatch
from gradcheck.handoff.split import HandOff, MicroBatchPasses
from gradcheck.keras_private import mask_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.problem.problem import Problem

#: How far the losses of slices may be from that of the batch, as a share of it, by rounding alone.
ROUNDING = 1e-4
CACHED = (
    "The loss compares the examples of a batch with each other (negatives, pairs), and over slices each sees its own "
    "slice alone; another normalisation changes nothing in that. Use cached embeddings: compute the outputs of the "
    "whole batch slice by slice without a tape, differentiate the loss of all of them with respect to the outputs "
    "once, and run each slice again under a tape with its rows of that cotangent as `output_gradients`."
)


class BatchStatistics(Fault):
    """A correct sum over micro-batches, which is another gradient if a layer or the loss couples the examples."""

    code = "GC301"
    nowhere = "no micro-batches that it could change"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the whole batch in one piece, if the problem has micro-batches."""
        effect = "the whole batch ran in one piece, with its statistics in place of the micro-batches' own"
        if problem.slices:
            yield Injection(code=self.code, place=over(len(problem.slices)), effect=effect, slices=1)

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield `count` micro-batches, each correctly weighted."""
        if new_sizes(problem, count):
            effect = f"every one of {count} micro-batches had its own examples alone in statistics and in the loss"
            advice = partial(_advice, problem, count)
            yield Injection(code=self.code, place=over(count), effect=effect, slices=count, advice=advice)


def _advice(problem: Problem, count: int) -> str | None:
    """Return what to do if the loss couples the examples: over slices of the same outputs it does not add up."""
    tensors = batch_tensors(problem)
    with problem.state.preserved():
        steps = HandOff()
        passes = MicroBatchPasses(problem, MicroBatch(tensors), steps, {})
        steps.drive(problem, [passes], only="forward")
        slices = make_slices(count, problem.model, problem.batch, problem.loss, training=problem.training)
    if any(mask_of(output) is not None for output in passes.result.outputs):
        return None  # rows of a tensor lose their mask: what a loss is divided by would be another number
    # Identity: neither side reads the logits that Keras hides on an output.
    outputs, y, weights = [*map(tf.identity, passes.result.outputs)], tensors.y, tensors.sample_weight
    apart = sum(
        float(problem.loss([*map(s.of, y)], [*map(s.of, outputs)], weights and [*map(s.of, weights)], s.scales))
        for s in slices
    )
    return None if math.isclose(apart, float(problem.loss(y, outputs, weights)), rel_tol=ROUNDING) else CACHED
