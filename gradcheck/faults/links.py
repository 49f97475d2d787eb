"""Who takes what another segment made, and cotangents that do not come back from there."""

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
    """Segment `taker` takes `ref`, which segment `maker` made."""

    maker: int
    taker: int
    ref: TensorRef


def links(problem: Problem) -> list[Link]:
    """Every link along which a cotangent comes back, by taker and in the order in which it takes."""
    maker = {ref: segment.plan.index for segment in problem.segments for ref in segment.plan.outputs}
    return [
        Link(maker[ref], segment.plan.index, ref)
        for segment in problem.segments
        for ref in segment.plan.inputs
        if has_cotangent(problem, ref)
    ]


class NothingBack(HandOff):
    """Some segments hand nothing back for some of what they took."""

    def __init__(self, lost: Collection[Link], *, zeros: bool = False) -> None:
        """`lost` are the links; `zeros` puts zeros where nothing comes back."""
        self._lost = {(link.taker, link.ref) for link in lost}
        self._zeros = zeros

    def input_cotangent(self, segment: Segment, ref: TensorRef, gradient: Any) -> Any:
        """None, or zeros, for what is lost."""
        if (segment.plan.index, ref) not in self._lost:
            return super().input_cotangent(segment, ref, gradient)
        return tf.zeros_like(gradient) if self._zeros and gradient is not None else None
