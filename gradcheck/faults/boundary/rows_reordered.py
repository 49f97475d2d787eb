"""GC111: the rows of a cotangent, one for each example, come back in another order."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.faults.accumulation.slicing import new_sizes, own_sizes
from gradcheck.faults.boundary.other_rows import (
    FEW_BOUNDARIES,
    FEW_ITEMS,
    OtherRows,
    dealt_orders,
    distinct,
    more_orders,
    row_boundaries,
    usual_orders,
)
from gradcheck.faults.interface import Fault, Injection, boundary
from gradcheck.faults.places import at_boundaries, at_tensors
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.faults.boundary.other_rows import Order
    from gradcheck.problem.problem import Problem


class RowsReordered(Fault):
    """A batch that was shuffled, sorted or reversed between its forward and its backward pass."""

    code = "GC111"
    nowhere = "the batch, or each of its micro-batches, is one example"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield orders of the rows in each of the problem's own micro-batches, and in the whole batch."""
        batch = problem.batch.size
        sizes = own_sizes(problem) or (batch,)
        usual = dict(_within(sizes, usual_orders)) | dict(_by_target(problem, sizes))
        if 1 < len(sizes) < batch:
            whole = usual_orders(batch) | dealt_orders(batch, len(sizes))
            usual |= {f"{words}, over the whole batch": order for words, order in whole.items()}
        more = {words: order for words, order in _within(sizes, more_orders) if order not in usual.values()}
        yield from self._reordered(problem, usual, usual=True)
        few = len(row_boundaries(problem)) <= FEW_BOUNDARIES
        for injection in self._reordered(problem, more):
            if few != injection.place.everywhere:  # the costs of a replay at each boundary, and at all of them
                yield injection

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield the orders that loops make of the rows in each of a few micro-batches."""
        sizes = new_sizes(problem, count) if count <= FEW_ITEMS else ()
        for injection in self._reordered(problem, dict(_within(sizes, usual_orders))):
            yield replace(injection, slices=count)

    def _reordered(self, problem: Problem, orders: Mapping[str, Order], *, usual: bool = False) -> Iterator[Injection]:
        where = row_boundaries(problem)
        for words, order in orders.items():
            change = partial(OtherRows, problem, rows=order)
            effect = f"the rows of {{}}'s cotangent came back {words}"
            yield from at_boundaries(problem, self.code, change, effect, where)
            if usual:
                yield from at_tensors(problem, self.code, change, effect, where)


def in_order(problem: Problem, index: int, rows: Sequence[int | None]) -> Injection:
    """Return the fault in which the examples get these rows of segment `index`'s cotangent; zeros for None."""
    moved = [f"{to} got that of {of}" for to, of in enumerate(rows) if to != of]
    name = problem.segments[index].plan.name
    return Injection(
        code=RowsReordered.code,
        place=boundary(problem, index),
        effect=f"the rows of {name}'s cotangent came back in another order: {some(moved, most=len(rows))}",
        steps=partial(OtherRows, problem, {index}, rows=rows),
    )


def _by_target(problem: Problem, sizes: Sequence[int]) -> Iterator[tuple[str, Order]]:
    """Yield the rows of each micro-batch in the order of their targets, one number each, or the largest's index."""
    y = problem.batch.y[0]
    if y is None or len(y.shape) not in (1, 2) or y.shape[0] != problem.batch.size:
        return
    values = np.asarray(y).reshape(problem.batch.size, -1)
    values = values.argmax(axis=1) if values.shape[1] > 1 else values[:, 0]
    rows: list[int] = []
    for size in sizes:
        rows += [len(rows) + int(i) for i in np.argsort(values[len(rows) : len(rows) + size], kind="stable")]
    yield from distinct([("sorted by target", tuple(rows))])


def _within(sizes: Sequence[int], orders: Callable[[int], Mapping[str, Order]]) -> Iterator[tuple[str, Order]]:
    """Yield orders of the rows within each micro-batch, or in a single one, once each.

    A micro-batch that is shorter than the first keeps its own order, where none of its orders has the same words.
    """
    starts, each = (
        list(accumulate(sizes, initial=0)),
        f" in each of {len(sizes)} micro-batches" if len(sizes) > 1 else "",
    )
    found = []
    for words in orders(sizes[0]) if sizes else ():
        taken = [orders(size).get(words, range(size)) for size in sizes]
        rows = tuple(start + row for start, of in zip(starts, taken, strict=False) for row in of)
        found.append((f"{words}{each}", rows))
    return distinct(found)
