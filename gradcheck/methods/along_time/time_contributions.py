"""The contribution of each chunk of a time split to the gradient of each weight, which shows truncation.

A weight of a recurrent layer is used in every chunk, and its gradient is the sum of the gradients under the chunks'
tapes. If the state's cotangent is not handed back, only the chunks whose own output reaches the loss contribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.handoff.execute import Execution
from gradcheck.handoff.interface import Computed, Gradients
from gradcheck.handoff.split import HandOff, split
from gradcheck.handoff.tensors import added, dense
from gradcheck.results.report import Contribution

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.handoff.interface import Tensors
    from gradcheck.handoff.split import Pass
    from gradcheck.problem.problem import Problem


class NormKey(NamedTuple):
    """The key of the norm of the gradient that chunk `segment` contributes to the weight at `path`."""

    path: str
    segment: int


@dataclass(frozen=True, kw_only=True)
class ChunkedGradients(Gradients):
    """Gradients of a time split, with the contribution of each chunk."""

    contributions: tuple[Contribution, ...]


class Recording(HandOff):
    """The unchanged hand-off, recording every segment's part of a weight's gradient, summed over micro-batches."""

    def __init__(self, problem: Problem) -> None:
        """Take the weights of `problem`."""
        self._problem = problem
        self._parts: dict[NormKey, Any] = {}

    @property
    def norms(self) -> dict[NormKey, Any]:
        """The 2-norm of every part."""
        # Of the sum over micro-batches, for norms do not add; in float64, where squares of float32 do not overflow.
        return {key: tf.norm(tf.cast(dense(part), tf.float64)) for key, part in self._parts.items()}

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """Return the gradients of the unchanged hand-off, and record those of weights."""
        gradients = super().pull_back(done, targets, seeds, sources)
        for source, gradient in zip(sources, gradients, strict=True):
            weight = self._problem.counterparts.get(id(source))
            if weight is not None and gradient is not None:
                key = NormKey(weight.path, done.segment.plan.index)
                self._parts[key] = added(self._parts.get(key), gradient)
        return gradients


def recorded_split(problem: Problem, *, execution: str | None = None) -> Gradients:
    """Return the gradients by `split`, with each chunk's contribution if the problem is cut along time."""
    if problem.time is None:
        return Execution(problem, split, execution=execution)()

    def body(problem: Problem, tensors: Tensors) -> Computed:
        recording = Recording(problem)
        computed = split(problem, tensors, recording)
        # A graph function can return the norms only with its other tensors, and `Execution` returns those of this
        # mapping.
        return computed._replace(gradients={"all": computed.gradients, "norms": recording.norms})  # type: ignore[dict-item]  # taken apart below

    found = Execution(problem, body, execution=execution)()
    norms: Any = found.tensors["norms"]  # type: ignore[index]  # as above
    tensors: Any = found.tensors["all"]  # type: ignore[index]  # as above
    return ChunkedGradients(**{**vars(found), "tensors": tensors}, contributions=_contributions(problem, norms))


def _contributions(problem: Problem, norms: dict[NormKey, Any]) -> tuple[Contribution, ...]:
    """Return one record for each weight that several chunks use."""
    chunks = () if problem.time is None else tuple(problem.time.chunk_segments)
    return tuple(
        Contribution(
            path=weight.path,
            segments=chunks,
            norms=tuple(float(norms.get(NormKey(weight.path, segment), 0.0)) for segment in chunks),
        )
        for weight in problem.weights
        if set(weight.segments) & set(chunks)
    )


def contributions_of(gradients: Gradients) -> tuple[Contribution, ...]:
    """Return the contributions of the chunks; none for a method that does not record them."""
    return gradients.contributions if isinstance(gradients, ChunkedGradients) else ()
