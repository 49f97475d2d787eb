"""GC109: the loss compares outputs with the targets of other examples, or of other steps in time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem


#: By how many examples targets are rolled at most, unless by a micro-batch.
_FEW = 4
#: The rank of an output with steps in time: (batch, time, features).
_OVER_TIME = 3


class TargetsMisaligned(Fault):
    """Targets rolled along the batch or along time, while sample weights stay where they are."""

    code = "GC109"
    nowhere = "the batch is one example, and has no targets along time"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield a roll by a few examples in either direction, by one micro-batch, and by one step in time."""
        batch, place = problem.batch.size, Place(text="the targets", segment=len(problem.segments) - 1)
        steps = [step for by in range(1, min(batch - 1, _FEW) + 1) for step in (by, batch - by)]
        if problem.slices:
            size = problem.slices[0].stop - problem.slices[0].start
            steps += [size, batch - size]
        for by in dict.fromkeys(step for step in steps if step % batch):
            effect = f"example {by} was compared with the target of example 0, and so on around the batch of {batch}"
            yield Injection(code=self.code, place=place, effect=effect, steps=partial(Rolled, by))
        over_time = _over_time(problem)
        for by, said in ((1, "the one before it"), (-1, "the one after it")) if over_time else ():
            effect = f"every step in time was compared with the target of {said}, and so on around the sequence"
            yield Injection(
                code=self.code, place=place, effect=effect, steps=partial(RolledInTime, by, frozenset(over_time))
            )


def _over_time(problem: Problem) -> list[int]:
    """Return the indices of the outputs that have several steps in time, and a target for each."""
    shapes = [problem.graph.spec(ref).shape for ref in problem.graph.outputs]
    return [
        i
        for i, (shape, y) in enumerate(zip(shapes, problem.batch.y, strict=True))
        if y is not None
        and len(shape) == _OVER_TIME
        and y.shape.rank > 1
        and shape[1] in {None, y.shape[1]}
        and y.shape[1] > 1
    ]


class RolledInTime(HandOff):
    """The hand-off in which targets are rolled along time."""

    def __init__(self, by: int, at: Collection[int]) -> None:
        """Roll the targets of the outputs `at` by so many steps."""
        self._by, self._at = by, at

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """Return the same slices with other targets."""
        return [part._replace(tensors=part.tensors._replace(y=self._rolled(part.tensors.y))) for part in parts]

    def _rolled(self, targets: Sequence[Any]) -> list[Any]:
        return [tf.roll(y, self._by, 1) if i in self._at else y for i, y in enumerate(targets)]


class Rolled(HandOff):
    """The hand-off in which the targets of the whole batch are rolled before it is sliced."""

    def __init__(self, by: int) -> None:
        """Roll the targets by `by` examples."""
        self._by = by

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """Return the same slices with other targets."""
        sizes = [int(part.tensors.x[0].shape[0]) for part in parts]
        by_output = [self._rolled(of_output, sizes) for of_output in zip(*(p.tensors.y for p in parts), strict=True)]
        return [
            part._replace(tensors=part.tensors._replace(y=list(y)))
            for part, y in zip(parts, zip(*by_output, strict=True), strict=True)
        ]

    def _rolled(self, y: tuple[Any, ...], sizes: list[int]) -> list[Any]:
        """Return the slices `y` of an output's targets, rolled; each example may have several rows. None stays None."""
        if y[0] is None or not y[0].shape.rank:
            return list(y)
        rows = [int(part.shape[0]) for part in y]
        whole = tf.roll(tf.concat(y, 0), self._by * (sum(rows) // sum(sizes)), 0)
        rolled: list[Any] = tf.split(whole, rows, 0)
        return rolled
