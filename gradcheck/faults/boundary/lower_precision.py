"""GC104: a boundary tensor, its cotangent or both cross in a lower precision."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.cutting.tensor_copies import copied
from gradcheck.faults.interface import Fault, boundaries
from gradcheck.faults.places import AtBoundaries, at_boundaries, at_tensors, handed_on, has_cotangent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import Problem


class CastWay(NamedTuple):
    """What is cast, in words: the boundary, the cotangent that each taker sends back, their sum before it is used.

    `several` ways differ from others only where a tensor has several cotangents.
    """

    subject: str
    forward: bool = False
    parts: bool = False
    total: bool = False
    several: bool = False


_WAYS = (
    CastWay("what {} hands on and its cotangent", forward=True, parts=True),
    CastWay("the cotangent of {}", parts=True),
    CastWay("what {} hands on", forward=True),
    CastWay("the summed cotangent of {}", total=True),
    CastWay("what {} hands on and its summed cotangent", forward=True, total=True, several=True),
    CastWay("the cotangents of {} and their sum", parts=True, total=True, several=True),
    CastWay("what {} hands on, its cotangents and their sum", forward=True, parts=True, total=True, several=True),
)


class LowerPrecision(Fault):
    """A cast to a shorter dtype and back, as by compression or by a mixed-precision policy of one part."""

    code = "GC104"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each shorter dtype and each direction, at each boundary with a longer dtype and at all of these."""
        for dtype in (tf.float32, tf.float16, tf.bfloat16):
            where = [index for index in boundaries(problem) if self._shortens(problem, index, dtype)]
            several = [index for index in where if _sums(problem, index)]
            for way in _WAYS:
                change, effect = (
                    partial(Cast, problem, dtype=dtype, way=way),
                    f"{way.subject} went through {dtype.name}",
                )
                if several or not way.several:
                    yield from at_boundaries(problem, self.code, change, effect, several if way.several else where)
                if not way.forward:
                    yield from at_tensors(problem, self.code, change, effect, several if way.several else where)

    def _shortens(self, problem: Problem, index: int, dtype: tf.DType) -> bool:
        dtypes = [
            tf.as_dtype(problem.graph.spec(r).dtype) for r in handed_on(problem, index) if has_cotangent(problem, r)
        ]
        return any(of_tensor.is_floating and dtype.size < of_tensor.size for of_tensor in dtypes)


def _sums(problem: Problem, index: int) -> bool:
    """Whether a tensor that segment `index` hands on has several cotangents: of other segments, or of the loss."""
    takers = Counter([*(ref for s in problem.segments for ref in s.plan.inputs), *problem.graph.outputs])
    return any(takers[ref] > 1 and has_cotangent(problem, ref) for ref in handed_on(problem, index))


class Cast(AtBoundaries):
    """The hand-off in which crossing tensors are cast to `dtype` and back, if it is shorter than their own."""

    def __init__(self, problem: Problem, at: Collection[Any], *, dtype: tf.DType, way: CastWay) -> None:
        """Cast what `way` tells."""
        super().__init__(problem, at)
        self.changes_forward = way.forward
        self._way, self._dtype = way, dtype

    def cross(self, segment: Segment, ref: TensorRef, tensor: Any) -> Any:
        """Return the boundary tensor, rounded."""
        if ref not in self.refs or not self._way.forward:
            return super().cross(segment, ref, tensor)
        return copied(tensor, by=self._through)

    def input_cotangent(self, segment: Segment, ref: TensorRef, gradient: Any) -> Any:
        """Return a taker's part of the cotangent, rounded."""
        if ref not in self.refs or not self._way.parts or gradient is None:
            return super().input_cotangent(segment, ref, gradient)
        return self._through(gradient)

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """Return the whole cotangent, rounded."""
        if ref not in self.refs or not self._way.total or cotangent is None:
            return super().cotangent(segment, ref, output, cotangent)
        return self._through(cotangent)

    def _through(self, tensor: Any) -> Any:
        if not tensor.dtype.is_floating or tensor.dtype.size <= self._dtype.size:
            return tf.identity(tensor)
        return tf.cast(tf.cast(tensor, self._dtype), tensor.dtype)
