"""GC104: a boundary tensor, its cotangent or both cross in a lower precision."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.cutting.tensor_copies import copied
from gradcheck.faults.interface import Fault, boundaries
from gradcheck.faults.places import AtBoundaries, at_boundaries, handed_on, has_cotangent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import Problem

#: The tensors that cross in the lower precision: in words, whether the boundary, whether its cotangent.
_WAYS = (
    ("what {} hands on and its cotangent", True, True),
    ("the cotangent of {}", False, True),
    ("what {} hands on", True, False),
)


class LowerPrecision(Fault):
    """A cast to a shorter dtype and back, as by compression or by a mixed-precision policy of one part."""

    code = "GC104"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each shorter dtype and each direction, at each boundary with a longer dtype and at all of these."""
        for dtype in (tf.float32, tf.float16, tf.bfloat16):
            where = [index for index in boundaries(problem) if self._shortens(problem, index, dtype)]
            for subject, forward, backward in _WAYS:
                change = partial(Cast, problem, dtype=dtype, forward=forward, backward=backward)
                effect = f"{subject} went through {dtype.name}"
                yield from at_boundaries(problem, self.code, change, effect, where)

    def _shortens(self, problem: Problem, index: int, dtype: tf.DType) -> bool:
        dtypes = [
            tf.as_dtype(problem.graph.spec(r).dtype) for r in handed_on(problem, index) if has_cotangent(problem, r)
        ]
        return any(of_tensor.is_floating and dtype.size < of_tensor.size for of_tensor in dtypes)


class Cast(AtBoundaries):
    """The hand-off in which crossing tensors are cast to `dtype` and back, if it is shorter than their own."""

    def __init__(
        self, problem: Problem, at: Collection[int], *, dtype: tf.DType, forward: bool, backward: bool
    ) -> None:
        """Cast boundary tensors if `forward`, their cotangents if `backward`."""
        super().__init__(problem, at)
        self.changes_forward = self._forward = forward
        self._backward, self._dtype = backward, dtype

    def cross(self, segment: Segment, ref: TensorRef, tensor: Any) -> Any:
        """Return the boundary tensor, rounded."""
        if ref not in self.refs or not self._forward:
            return super().cross(segment, ref, tensor)
        return copied(tensor, by=self._through)

    def input_cotangent(self, segment: Segment, ref: TensorRef, gradient: Any) -> Any:
        """Return the cotangent, rounded."""
        if ref not in self.refs or not self._backward or gradient is None:
            return super().input_cotangent(segment, ref, gradient)
        return self._through(gradient)

    def _through(self, tensor: Any) -> Any:
        if not tensor.dtype.is_floating or tensor.dtype.size <= self._dtype.size:
            return tf.identity(tensor)
        return tf.cast(tf.cast(tensor, self._dtype), tensor.dtype)
