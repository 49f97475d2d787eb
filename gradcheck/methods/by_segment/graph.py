"""`graph`: two-step `tf.gradients` through the boundary, in a graph function. The graph itself is the tape.

    tf.gradients(outputs, inputs + weights, grad_ys=cotangents)

for each segment from the last to the first: the vector-Jacobian product of `gradcheck.handoff.split`, with `grad_ys` in
place of a tape's `output_gradients`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.eager.record import VariableWatcher  # records the variables of a tape; it has no public name

from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.split import HandOff, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.interface import Computed, Gradients, Tensors
    from gradcheck.problem.problem import Problem


def graph(problem: Problem, options: MethodOptions) -> Gradients:  # noqa: ARG001 - every method takes its options
    """Return the split model's gradients by `tf.gradients`."""
    return in_graph(problem, ByGraph())


def in_graph(problem: Problem, steps: HandOff) -> Gradients:
    """Run `split` in a graph function, for `tf.gradients` needs one; compiled if the problem is."""

    def body(problem: Problem, tensors: Tensors) -> Computed:
        return split(problem, tensors, steps)

    return Execution(problem, body, execution="xla" if problem.execution == "xla" else "graph")()


class ByGraph(HandOff):
    """A hand-off with `tf.gradients` in place of a tape."""

    def tape(self) -> Any:
        """Return the graph."""
        return GraphRecord()

    def cross(self, segment: Segment, ref: TensorRef, tensor: Any) -> Any:  # noqa: ARG002 - as in the base class
        """Return a copy without gradient to its origin, so that only `grad_ys` carries the chain.

        `tf.gradients` differentiates through the whole graph: a weight that an earlier segment uses as well would get
        that use's gradient here, and a second time with the earlier segment.
        """
        return copied(tensor, by=tf.stop_gradient)


class GraphRecord(VariableWatcher):  # type: ignore[misc]  # TensorFlow has no types
    """The graph that is being traced, with a tape's interface: it holds every operation anyway.

    Only the variables that a segment reads must be recorded, for the graph holds those of all segments.
    """

    def watch(self, tensors: Sequence[Any]) -> None:
        """Do nothing."""

    def gradient(
        self, targets: Sequence[Any], sources: Sequence[Any], output_gradients: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        """Return the sum over `targets` of seed · dTarget/dSource, for each of `sources`; None without a path."""
        return tf.gradients(targets, sources, grad_ys=output_gradients)  # type: ignore[no-any-return]
