"""Updates of one segment after another, for faults of loops that do not update all segments at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.building.state import Snapshot
from gradcheck.building.state_variables import state_variables
from gradcheck.problem.optimizer import innermost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Trainee


class SegmentUpdates:
    """Calls of the optimizer for some weights alone.

    With `own`, each group of weights has an iteration count of its own, as it has with an optimizer of its own.
    """

    def __init__(self, trainee: Trainee, *, own: bool) -> None:
        """Nothing has been applied yet."""
        self._trainee, self._own = trainee, own
        self._counts: Counter[tuple[int, ...]] = Counter()
        self._steps = 0

    def apply(self, problem: Problem, gradients: Gradients, group: Sequence[int]) -> None:
        """Update the weights with the indices `group` by their gradients in `gradients`."""
        key = tuple(group)
        if self._own:
            self._count(self._counts[key])
        self._trainee.applying(lambda _: gradients, groups=[group])(problem, None)
        self._counts[key] += 1

    def ended(self) -> None:
        """End a step: the count that is compared is that of the steps."""
        self._steps += 1
        if self._own:
            self._count(self._steps)

    def _count(self, value: int) -> None:
        iterations = innermost(self._trainee.optimizer).iterations
        iterations.assign(tf.cast(value, iterations.dtype))


def can_count_apart(trainee: Trainee) -> bool:
    """Whether the optimizer's iteration count can be set: one that accumulates counts otherwise."""
    return hasattr(innermost(trainee.optimizer).iterations, "assign")


def first_users(trainee: Trainee) -> list[int]:
    """Return the index of the segment that each group of `by_segment` belongs to."""
    return sorted({min(weight.segments, default=0) for weight in trainee.problem.weights})


class Held:
    """The state of the segments at the start of a step, so that a second pass begins where the first one did."""

    def __init__(self, problem: Problem) -> None:
        """Read the state."""
        self._held = [Snapshot([s.variable for s in state_variables([segment])]) for segment in problem.segments]

    def rewind(self, before: int) -> None:
        """Put the state of the segments before the one with index `before` back: they do not run a second time."""
        for held in self._held[:before]:
            held.put_back()
