"""Links between a segment that makes a tensor and one that takes it, and hand-offs that lose their cotangents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.faults.places import has_cotangent
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Collection

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.problem import Problem


class Link(NamedTuple):
    """A tensor `ref` that segment `maker` makes and segment `taker` takes."""

    maker: int
    taker: int
    ref: TensorRef


def links(problem: Problem) -> list[Link]:
    """Return every link along which a cotangent comes back, in the order of takers and of their inputs."""
    maker = {ref: segment.plan.index for segment in problem.segments for ref in segment.plan.outputs}
    return [
        Link(maker[ref], segment.plan.index, ref)
        for segment in problem.segments
        for ref in segment.plan.inputs
        if has_cotangent(problem, ref)
    ]


class NothingBack(HandOff):
    """The hand-off in which some segments return no cotangent for some of their inputs."""

    def __init__(self, lost: Collection[Link], *, zeros: bool = False) -> None:
        """Lose the cotangents of the links `lost`; with `zeros` they are zeros instead of None."""
        # Keyed by taker: other segments that take the same tensor still contribute to its cotangent.
        self._lost = {(link.taker, link.ref) for link in lost}
        self._zeros = zeros

    def input_cotangent(self, segment: Segment, ref: TensorRef, gradient: Any) -> Any:
        """Return None or zeros for a lost cotangent."""
        if (segment.plan.index, ref) not in self._lost:
            return super().input_cotangent(segment, ref, gradient)
        # None and zeros differ in the end: a weight with None is skipped by an optimizer, one with zeros is not.
        return tf.zeros_like(gradient) if self._zeros and gradient is not None else None
