"""GC607: the Jacobian of each example alone, though a segment couples the examples of a batch."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.handoff.split import HandOff
from gradcheck.handoff.tensors import added, dense

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.split import Pass
    from gradcheck.problem.problem import Problem

#: One vector-Jacobian product for each element of an example's output: with more elements it takes too long.
MOST_ELEMENTS = 64


class ExamplesApart(Fault):
    """`tape.batch_jacobian`, which sums over the examples of the output: no example may depend on another."""

    code = "GC607"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the fault at each segment that takes an earlier segment's output."""
        for segment in reversed(problem.segments):
            before = [s.plan.index for s in problem.segments if set(s.plan.outputs) & set(segment.plan.inputs)]
            if before and _elements(problem, segment) <= MOST_ELEMENTS:
                yield Injection(
                    code=self.code,
                    place=Place(text=f"segment {segment.plan.index}", segment=max(before)),
                    effect=f"what {segment.plan.name} hands back was made with a Jacobian for each example "
                    "(batch_jacobian), as if none depended on another",
                    steps=partial(Apart, segment.plan.index, problem.batch.size),
                )


def _elements(problem: Problem, segment: Segment) -> int:
    shapes = [problem.graph.spec(ref).shape[1:] for ref in segment.plan.outputs]
    return sum(math.prod(axis or MOST_ELEMENTS for axis in shape) for shape in shapes)


class Apart(HandOff):
    """The hand-off that differentiates sums over examples, one for each element of an output, like `batch_jacobian`."""

    def __init__(self, at: int, rows: int) -> None:
        """Change the segment with the index `at`, in a batch of `rows` examples."""
        self._at, self._rows = at, rows

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """Return the weights' gradients unchanged, and the inputs' by Jacobians of single examples if these differ."""
        found = super().pull_back(done, targets, seeds, sources)
        if done.segment.plan.index != self._at or not self._couples(done, targets, seeds):
            return found
        handed_back: list[Any] = [None] * len(done.inputs)
        for target, seed in zip(targets, seeds, strict=True):
            for cotangent, factor in self._elements(seed):
                alone = map(dense, super().pull_back(done, [target], [cotangent], done.inputs))
                handed_back = [added(sum_, self._by_row(g, factor)) for sum_, g in zip(handed_back, alone, strict=True)]
        return [*handed_back, *found[len(handed_back) :]]

    def _couples(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any]) -> bool:
        """Whether the gradient of some example's input depends on another example's output, by as little as one bit.

        Otherwise the Jacobians would change rounding alone, which is much for a gradient that is nothing else.
        """
        for half in (tf.range(self._rows) % 2 == 0, tf.range(self._rows) % 2 == 1):
            seeded = [self._where(half, seed) for seed in seeds]
            for gradient in map(dense, super().pull_back(done, targets, seeded, done.inputs)):
                if gradient is not None and bool(tf.reduce_any(self._where(~half, gradient) != 0)):
                    return True
        return False

    def _where(self, chosen: Any, tensor: Any) -> Any:
        """Return `tensor` with zeros for examples that are not chosen; a tensor of another length unchanged."""
        if not tensor.shape.rank or tensor.shape[0] != self._rows:
            return tensor
        chosen = tf.reshape(chosen, (self._rows, *[1] * (tensor.shape.rank - 1)))
        return tf.where(chosen, tensor, tf.zeros_like(tensor))

    def _elements(self, seed: Any) -> Iterator[tuple[Any, Any]]:
        """Yield, for each element of an example, ones there in every example, and the seed there, of shape (rows,).

        A seed of another length is yielded as it is, with None.
        """
        if not seed.shape.rank or seed.shape[0] != self._rows:
            yield seed, None
            return
        flat = tf.reshape(seed, (self._rows, -1))
        for i in range(flat.shape[1]):
            ones = tf.one_hot([i] * self._rows, flat.shape[1], dtype=seed.dtype)
            yield tf.reshape(ones, seed.shape), flat[:, i]

    def _by_row(self, gradient: Any, factor: Any) -> Any:
        if gradient is None or factor is None or gradient.shape[0] != self._rows:
            return gradient
        factor = tf.cast(factor, gradient.dtype)  # a complex tensor may depend on a real one, and the other way round
        return gradient * tf.reshape(factor, (self._rows, *[1] * (gradient.shape.rank - 1)))
