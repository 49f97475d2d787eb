"""`graph`: two-step `tf.gradients` through the boundary, in a graph function. No tape: the graph itself is the record.

    tf.gradients(outputs, inputs + weights, grad_ys=cotangents)

for each segment from the last to the first: the vector-Jacobian product of `gradcheck.handoff.split`, with `grad_ys`
in the place of a tape's `output_gradients`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.eager.record import VariableWatcher  # what notes a tape's variables has no public name

from gradcheck.cutting.run_calls import copied
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
    """The split model's gradients by `tf.gradients`."""
    return in_graph(problem, ByGraph())


def in_graph(problem: Problem, steps: HandOff) -> Gradients:
    """`split` in a graph function, for outside of one there is no `tf.gradients`; compiled where the problem is."""

    def body(problem: Problem, tensors: Tensors) -> Computed:
        return split(problem, tensors, steps)

    return Execution(problem, body, execution="xla" if problem.execution == "xla" else "graph")()


class ByGraph(HandOff):
    """The hand-off in which `tf.gradients` does what a tape does."""

    def tape(self) -> Any:
        """The graph."""
        return GraphRecord()

    def cross(self, segment: Segment, ref: TensorRef, tensor: Any) -> Any:  # noqa: ARG002 - as in the base class
        """A tensor that is cut off from where it comes from, so that only `grad_ys` carries the chain.

        `tf.gradients` follows the graph wherever it leads: a weight that an earlier segment uses as well would get that
        use's gradient here, and a second time when the earlier segment's turn comes.
        """
        return copied(tensor, by=tf.stop_gradient)


class GraphRecord(VariableWatcher):  # type: ignore[misc]  # TensorFlow has no types
    """The graph that is being traced, asked as a tape is: it holds every operation without being told to.

    Only which variables a segment reads must be noted, for the graph holds those of all segments.
    """

    def watch(self, tensors: Sequence[Any]) -> None:
        """Nothing to do."""

    def gradient(
        self, targets: Sequence[Any], sources: Sequence[Any], output_gradients: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        """The sum over `targets` of seed · dTarget/dSource, for each of `sources`; None where nothing flows."""
        return tf.gradients(targets, sources, grad_ys=output_gradients)  # type: ignore[no-any-return]
