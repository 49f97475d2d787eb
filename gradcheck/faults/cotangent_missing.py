"""GC101: a segment is differentiated as if its own output were the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.places import at_boundaries
from gradcheck.gradients.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gradcheck.faults.interface import Injection
    from gradcheck.models.graph import TensorRef
    from gradcheck.models.problem import Problem
    from gradcheck.models.segment import Segment


class CotangentMissing:
    """`tape.gradient` without `output_gradients`, which then are ones."""

    code = "GC101"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """At each boundary, and at all."""
        effect = "{} was differentiated with ones instead of dLoss/d(boundary)"
        return at_boundaries(problem, self.code, SeededWithOnes, effect)


class SeededWithOnes(HandOff):
    """The seed is ones at some segments' outputs."""

    def __init__(self, at: Collection[int]) -> None:
        """`at` are the indices of the segments."""
        self._at = at

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """Ones, whatever came back."""
        if segment.plan.index not in self._at or not output.dtype.is_floating:
            return super().cotangent(segment, ref, output, cotangent)
        return tf.ones_like(output)
