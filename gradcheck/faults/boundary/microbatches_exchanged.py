"""GC110: a micro-batch gets the cotangent of another one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from gradcheck.faults.accumulation.slicing import new_sizes, own_sizes
from gradcheck.faults.boundary.other_rows import (
    FEW_ITEMS,
    OtherRows,
    distinct,
    more_orders,
    row_boundaries,
    usual_orders,
)
from gradcheck.faults.interface import Fault
from gradcheck.faults.places import at_boundaries
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.faults.boundary.other_rows import Order
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import Problem


class MicroBatchesExchanged(Fault):
    """A queue that is emptied in another order than it was filled, or one cotangent kept for all micro-batches."""

    code = "GC110"
    nowhere = "no two micro-batches of one size"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each order of the problem's own micro-batches, and each cotangent for all of them."""
        return self._over(problem, own_sizes(problem), None)

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield the orders of `count` micro-batches that loops make, and the first and the last cotangent for all."""
        return self._over(problem, new_sizes(problem, count), count)

    def _over(self, problem: Problem, sizes: Sequence[int], slices: int | None) -> Iterator[Injection]:
        # A shorter one at the end keeps its own: no other cotangent fits it.
        alike = sum(size == sizes[0] for size in sizes)
        where = row_boundaries(problem)
        # Of single examples it is the order of rows, as any candidate may make it: GC111.
        if alike < 2 or not where or (slices is not None and sizes[0] == 1):  # noqa: PLR2004 - nothing to exchange
            return
        few, every = alike <= FEW_ITEMS, alike <= FEW_ITEMS and slices is None
        usual, more = usual_orders(alike), more_orders(alike) if every else {}
        kept = range(alike) if every else (0, alike - 1)
        others = [("in another order", order) for order in more.values()]
        others += [("wrongly", (index,) * alike) for index in kept]
        ways = [(f"{words}: {_moved(order)}", order) for words, order in distinct([*usual.items(), *others])]
        for words, order in ways:
            change = partial(OtherRows, problem, rows=_rows(order, sizes))
            effect = f"the cotangents of {len(sizes)} micro-batches came back to {{}} {words}"
            for injection in at_boundaries(problem, self.code, change, effect, where):
                if few or slices is None or injection.place.everywhere or len(where) == 1:
                    yield replace(injection, slices=slices)


def _moved(order: Order) -> str:
    """Say which micro-batch got the cotangent of which."""
    if len(set(order)) == 1:
        return f"all got that of {order[0]}"
    return some([f"{to} got that of {of}" for to, of in enumerate(order) if to != of], most=FEW_ITEMS)


def _rows(order: Order, sizes: Sequence[int]) -> list[int]:
    """Return the example whose cotangent each example gets: those of the micro-batches in `order`, then their own."""
    starts = list(accumulate(sizes, initial=0))
    whose = [*order, *range(len(order), len(sizes))]
    return [starts[of] + row for of in whose for row in range(sizes[of])]
