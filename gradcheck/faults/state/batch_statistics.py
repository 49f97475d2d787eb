"""GC301: statistics over the batch are computed over other slices of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.faults.accumulation.slicing import new_sizes, over
from gradcheck.faults.interface import Injection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.problem.problem import Problem


class BatchStatistics:
    """A correct sum over micro-batches, which is another gradient if a layer or the loss couples the examples."""

    code = "GC301"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the whole batch in one piece, if the problem has micro-batches."""
        effect = "the whole batch ran in one piece, with its statistics in place of the micro-batches' own"
        if problem.slices:
            yield Injection(code=self.code, place=over(len(problem.slices)), effect=effect, slices=1)

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield `count` micro-batches, each correctly weighted."""
        if new_sizes(problem, count):
            effect = f"every one of {count} micro-batches had statistics of its own"
            yield Injection(code=self.code, place=over(count), effect=effect, slices=count)
