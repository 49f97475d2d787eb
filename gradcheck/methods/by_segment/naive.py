"""`naive`: each segment's gradient of the sum of its own output. A common first attempt, and a negative control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.handoff.execute import Execution
from gradcheck.handoff.split import HandOff, split

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.interface import Computed, Gradients, Tensors
    from gradcheck.problem.problem import Problem


class NoHandOff(HandOff):
    """A hand-off that differentiates each segment but the last as if its output were the loss: the seed is ones."""

    def __init__(self, last: int) -> None:
        """Take the index of the `last` segment, whose output is the loss's input."""
        self._last = last

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """Return ones, except for the last segment."""
        if segment.plan.index == self._last:
            return super().cotangent(segment, ref, output, cotangent)
        return tf.ones_like(output) if cotangent is not None else None


def naive(problem: Problem, options: MethodOptions) -> Gradients:  # noqa: ARG001 - every method takes its options
    """Return the gradients without a hand-off."""
    last = len(problem.segments) - 1

    def body(problem: Problem, tensors: Tensors) -> Computed:
        return split(problem, tensors, NoHandOff(last))

    return Execution(problem, body)()
