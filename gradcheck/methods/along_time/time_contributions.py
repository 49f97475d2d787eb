"""What each chunk of a time split adds to the gradient of each weight, so that truncation can be seen.

A weight of a recurrent layer is used in every chunk, and its gradient is the sum of what the chunks' tapes give. Where
the state's cotangent is not handed back, only the chunks whose own output reaches the loss give anything.
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
    """The key of the norm of what chunk `segment` adds to the gradient of the weight at `path`."""

    path: str
    segment: int


@dataclass(frozen=True, kw_only=True)
class ChunkedGradients(Gradients):
    """Gradients of a time split, and what each chunk contributed."""

    contributions: tuple[Contribution, ...]


class Recording(HandOff):
    """The hand-off as it is, noting every segment's part in a weight's gradient, summed over micro-batches."""

    def __init__(self, problem: Problem) -> None:
        """`problem` knows the weights."""
        self._problem = problem
        self._parts: dict[NormKey, Any] = {}

    @property
    def norms(self) -> dict[NormKey, Any]:
        """The 2-norm of every part."""
        return {key: tf.norm(tf.cast(dense(part), tf.float64)) for key, part in self._parts.items()}

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """As it is; the sources that are weights are noted."""
        gradients = super().pull_back(done, targets, seeds, sources)
        for source, gradient in zip(sources, gradients, strict=True):
            weight = self._problem.counterparts.get(id(source))
            if weight is not None and gradient is not None:
                key = NormKey(weight.path, done.segment.plan.index)
                self._parts[key] = added(self._parts.get(key), gradient)
        return gradients


def recorded_split(problem: Problem, *, execution: str | None = None) -> Gradients:
    """The gradients by `split`, with what each chunk contributes where the problem is cut along time."""
    if problem.time is None:
        return Execution(problem, split, execution=execution)()

    def body(problem: Problem, tensors: Tensors) -> Computed:
        recording = Recording(problem)
        computed = split(problem, tensors, recording)
        return computed._replace(gradients={"all": computed.gradients, "norms": recording.norms})  # type: ignore[dict-item]  # taken apart below

    found = Execution(problem, body, execution=execution)()
    norms: Any = found.tensors["norms"]  # type: ignore[index]  # as above
    tensors: Any = found.tensors["all"]  # type: ignore[index]  # as above
    return ChunkedGradients(**{**vars(found), "tensors": tensors}, contributions=_contributions(problem, norms))


def _contributions(problem: Problem, norms: dict[NormKey, Any]) -> tuple[Contribution, ...]:
    """One record for each weight that several chunks use."""
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
    """What each chunk contributed; nothing for a method that does not say."""
    return gradients.contributions if isinstance(gradients, ChunkedGradients) else ()
