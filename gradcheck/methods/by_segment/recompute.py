"""`recompute`: as `vjp`, but only the boundaries are kept. The backward pass runs each segment's forward pass again.

Only the tensors that cross a cut are kept, so that no more than one segment's activations exist at any time (Chen et
al., "Training deep nets with sublinear memory cost", 2016). The second forward pass must repeat the first: it starts
from the same values of the variables (dropout's seeds, batch norm's statistics, recurrent states), and restores them
afterwards, or they would be updated twice.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.state import Moment, movable_variables
from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.split import HandOff, Pass, split
from gradcheck.handoff.tensors import summed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.interface import Computed, Gradients, Tensors
    from gradcheck.problem.problem import Problem


def recompute(problem: Problem, options: MethodOptions) -> Gradients:  # noqa: ARG001 - every method takes its options
    """Return the split model's gradients, with each segment's activations recomputed for its backward pass."""

    def body(problem: Problem, tensors: Tensors) -> Computed:
        return split(problem, tensors, Recomputing(problem))

    return Execution(problem, body)()


class Recomputing(HandOff):
    """A hand-off whose forward pass records nothing, and is run again under a tape in the backward pass."""

    def __init__(self, problem: Problem) -> None:
        """Take from `problem` the mode in which segments run."""
        self._training = problem.training
        self._starts: dict[Pass, Moment] = {}

    def run(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> Pass:
        """Run the segment without a tape; keep the values that its variables had before."""
        start = Moment(movable_variables([segment]))
        kept = [copied(tensor) for tensor in inputs]  # attention removes the masks from its arguments
        outputs = self.forward(segment, inputs, training=training)
        done = Pass(segment=segment, tape=None, inputs=kept, outputs=outputs, added_loss=summed(segment.losses))
        self._starts[done] = start
        return done

    def forward_record(self, done: Pass, cotangents: Sequence[Any]) -> Pass:
        """Run the forward pass again, this time under a tape."""
        inputs = [copied(tensor, by=partial(not_before, cotangents)) for tensor in done.inputs]
        with self.rewound(done):
            return super().run(done.segment, inputs, training=self._training)

    @contextmanager
    def rewound(self, done: Pass) -> Iterator[None]:
        """Restore the variables to the start of the pass; afterwards to their current values."""
        now = Moment(movable_variables([done.segment]))
        self._starts.pop(done).put_back()
        yield
        now.put_back()


def not_before(others: Sequence[Any], tensor: Any) -> Any:
    """Return a copy of `tensor` that a compiled function does not compute before `others`.

    A graph runs every operation whose inputs are ready, and would compute the activations of every second forward pass
    during the first; XLA would find that both passes compute the same, and keep the first one's activations. Neither
    knows that no number is both infinite and NaN. (XLA removes its own optimisation barrier before it merges equal
    computations.)
    """
    if tf.executing_eagerly() or not others:
        return tf.identity(tensor)
    element = tf.math.real(tf.reshape(others[0], [-1])[0])
    never = tf.math.is_nan(element) & tf.math.is_inf(element)
    return tf.where(never, tf.zeros_like(tensor), tensor)
