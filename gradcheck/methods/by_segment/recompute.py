"""`recompute`: as `vjp`, keeping only the boundaries. The backward pass runs each segment's forward pass again.

What is kept is the tensors that cross a cut, so that no more than one segment's activations exist at any time (Chen et
al., "Training deep nets with sublinear memory cost", 2016). The second forward pass must be the first one over again:
it starts from the variables that the first one started from (dropout's seeds, batch norm's statistics, recurrent
states), and leaves them as it found them, or else they would be moved twice.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.state import Moment, movable_variables
from gradcheck.cutting.run_calls import copied
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
    """The split model's gradients, each segment's activations made anew for its backward pass."""

    def body(problem: Problem, tensors: Tensors) -> Computed:
        return split(problem, tensors, Recomputing(problem))

    return Execution(problem, body)()


class Recomputing(HandOff):
    """The hand-off in which a forward pass records nothing, and is run again under a tape when it is needed."""

    def __init__(self, problem: Problem) -> None:
        """`problem` says in which mode a segment runs."""
        self._training = problem.training
        self._starts: dict[Pass, Moment] = {}

    def run(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> Pass:
        """The outputs alone, and what the variables held before them."""
        start = Moment(movable_variables([segment]))
        kept = [copied(tensor) for tensor in inputs]  # attention takes the masks off what it is given
        outputs = self.forward(segment, inputs, training=training)
        done = Pass(segment=segment, tape=None, inputs=kept, outputs=outputs, added_loss=summed(segment.losses))
        self._starts[done] = start
        return done

    def forward_record(self, done: Pass, cotangents: Sequence[Any]) -> Pass:
        """The forward pass over again, this time under a tape."""
        inputs = [copied(tensor, by=partial(not_before, cotangents)) for tensor in done.inputs]
        with self.rewound(done):
            return super().run(done.segment, inputs, training=self._training)

    @contextmanager
    def rewound(self, done: Pass) -> Iterator[None]:
        """The variables as they were at the start of the pass; afterwards as they are now."""
        now = Moment(movable_variables([done.segment]))
        self._starts.pop(done).put_back()
        yield
        now.put_back()


def not_before(others: Sequence[Any], tensor: Any) -> Any:
    """A copy of `tensor` that a compiled function does not make before it has `others`.

    A graph runs whatever is ready, and would make the activations of every second forward pass during the first; XLA
    would find that both passes compute the same, and keep the first one's activations. Neither knows that no number is
    at once infinite and not a number. (XLA's own optimisation barrier is gone by the time that it merges what is the
    same.)
    """
    if tf.executing_eagerly() or not others:
        return tf.identity(tensor)
    element = tf.math.real(tf.reshape(others[0], [-1])[0])
    never = tf.math.is_nan(element) & tf.math.is_inf(element)
    return tf.where(never, tf.zeros_like(tensor), tensor)
