"""GC606: an outside value that a compiled step reads becomes a constant when the step is traced."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.faults.accumulation.slicing import new_sizes, over, own_sizes
from gradcheck.faults.interface import Fault, Injection
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem


class TracedOnce(Fault):
    """The first micro-batch's targets, or inputs and targets, in later ones of its size: other sizes are retraced."""

    code = "GC606"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the fault over the problem's own micro-batches."""
        return self._over(own_sizes(problem), None)

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield the fault over `count` micro-batches."""
        return self._over(new_sizes(problem, count), count)

    def _over(self, sizes: Sequence[int], slices: int | None) -> Iterator[Injection]:
        if len(sizes) < 2 or sizes[1] != sizes[0]:  # noqa: PLR2004 - a later one of the size of the first
            return
        for names in ({"y"}, {"x", "y"}):
            what = "targets" if names == {"y"} else "inputs and targets"
            yield Injection(
                code=self.code,
                place=over(len(sizes)),
                effect=f"every micro-batch got the {what} of the first, as a constant that was traced with it",
                steps=partial(Constant, frozenset(names)),
                slices=slices,
            )


class Constant(HandOff):
    """The hand-off in which parts of the first micro-batch replace those of later ones."""

    def __init__(self, names: frozenset[str]) -> None:
        """Replace the fields `names` of the batch: x, y."""
        self._names = names
        self.changes_forward = "x" in names

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """Return the micro-batches with the first one's fields, if the sizes agree."""
        first = parts[0].tensors
        size = int(first.x[0].shape[0])
        traced = {name: getattr(first, name) for name in self._names}
        return [
            part._replace(tensors=part.tensors._replace(**traced)) if int(part.tensors.x[0].shape[0]) == size else part
            for part in parts
        ]
