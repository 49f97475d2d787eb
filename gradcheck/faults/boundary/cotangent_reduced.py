"""GC103: the cotangent is reduced over the batch, so that every example gets the same one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.places import AtBoundaries, at_boundaries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import Problem


class CotangentReduced:
    """A cotangent with the shape of one example, which broadcasting spreads over the batch."""

    code = "GC103"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the mean and the sum over the batch, at each boundary and at all of them."""
        for word, reduce in (("averaged", tf.reduce_mean), ("summed", tf.reduce_sum)):
            effect = f"the cotangent of {{}} was {word} over the batch and spread over it again"
            yield from at_boundaries(problem, self.code, partial(Reduced, problem, by=reduce), effect)


class Reduced(AtBoundaries):
    """The hand-off in which a seed is the same for every example."""

    def __init__(self, problem: Problem, at: Collection[int], *, by: Callable[..., Any]) -> None:
        """Reduce with `by`, such as `tf.reduce_mean`."""
        super().__init__(problem, at)
        self._reduce = by

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """Return the reduced cotangent, broadcast to its original shape."""
        if ref not in self.refs or cotangent is None or not cotangent.shape.rank:
            return super().cotangent(segment, ref, output, cotangent)
        return tf.broadcast_to(self._reduce(cotangent, 0, keepdims=True), tf.shape(cotangent))
