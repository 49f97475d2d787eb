"""GC109: the loss compares outputs with the targets of other examples."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem


class TargetsMisaligned(Fault):
    """Targets rolled along the batch, while sample weights stay where they are."""

    code = "GC109"
    nowhere = "the batch is one example"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield a roll by one example in either direction, and by one micro-batch."""
        batch = problem.batch.size
        steps = [1, batch - 1]
        if problem.slices:
            size = problem.slices[0].stop - problem.slices[0].start
            steps += [size, batch - size]
        for by in dict.fromkeys(step for step in steps if step % batch):
            place = Place(text="the targets", segment=len(problem.segments) - 1)
            effect = f"example {by} was compared with the target of example 0, and so on around the batch of {batch}"
            yield Injection(code=self.code, place=place, effect=effect, steps=partial(Rolled, by))


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
