"""What each chunk of a time split adds to the gradient of each weight, so that truncation can be seen.

A weight of a recurrent layer is used in every chunk, and its gradient is the sum of what the chunks' tapes give. Where
the state's cotangent is not handed back, only the chunks whose own output reaches the loss give anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.handoff.execute import Execution
from gradcheck.handoff.interface import PartKey
from gradcheck.handoff.split import HandOff, split
from gradcheck.handoff.tensors import added, dense
from gradcheck.results.contribution import Contribution

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.handoff.interface import Computed, Gradients, Tensors
    from gradcheck.handoff.split import Pass
    from gradcheck.problem.problem import Problem


class Recording(HandOff):
    """The hand-off as it is, noting every segment's part in a weight's gradient, summed over micro-batches."""

    def __init__(self, problem: Problem) -> None:
        """`problem` knows the weights."""
        self._problem = problem
        self._parts: dict[PartKey, Any] = {}

    @property
    def norms(self) -> dict[PartKey, Any]:
        """The 2-norm of every part."""
        return {key: tf.norm(tf.cast(dense(part), tf.float64)) for key, part in self._parts.items()}

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """As it is; the sources that are weights are noted."""
        gradients = super().pull_back(done, targets, seeds, sources)
        for source, gradient in zip(sources, gradients, strict=True):
            weight = self._problem.counterparts.get(id(source))
            if weight is not None and gradient is not None:
                key = PartKey(weight.path, done.segment.plan.index)
                self._parts[key] = added(self._parts.get(key), gradient)
        return gradients


def recorded_split(problem: Problem, *, execution: str | None = None) -> Gradients:
    """Return the gradients by `split`, with the norm of each segment's part where the problem is cut along time."""
    return Execution(problem, split if problem.time is None else _recorded, execution=execution)()


def _recorded(problem: Problem, tensors: Tensors) -> Computed:
    recording = Recording(problem)
    return split(problem, tensors, recording)._replace(part_norms=recording.norms)


def contributions_of(problem: Problem, gradients: Gradients) -> tuple[Contribution, ...]:
    """Return one record for each weight that several chunks use; none for a method that does not measure the parts."""
    chunks = tuple(problem.time.chunk_segments) if problem.time and gradients.part_norms else ()
    return tuple(
        Contribution(
            path=weight.path,
            segments=chunks,
            norms=tuple(float(gradients.part_norms.get(PartKey(weight.path, segment), 0.0)) for segment in chunks),
        )
        for weight in problem.weights
        if set(weight.segments) & set(chunks)
    )
