"""Cotangents that come back to other rows of the batch, and the orders in which they do."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import boundaries
from gradcheck.faults.places import AtBoundaries, handed_on, has_cotangent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.split import Direction, MicroBatchPasses
    from gradcheck.problem.problem import Problem

    #: The index of the item that each item gets something of.
    Order = tuple[int, ...]

#: Of so many items the first for all is no order, but one for all.
FEWEST = 2
#: The number of items up to which every order is tried, and of boundaries up to which it is tried at each.
FEW_ITEMS, FEW_BOUNDARIES = 4, 2


def usual_orders(count: int) -> dict[str, Order]:
    """Return the orders of `count` items that loops make, by their words; of two items some are the same."""
    own = tuple(range(count))
    return {
        "in reversed order": own[::-1],
        "rolled by one": own[-1:] + own[:-1],
        "rolled back by one": own[1:] + own[:1],
    } | ({"one too late": own[:1] + own[:-1], "one too early": own[1:] + own[-1:]} if count > FEWEST else {})


def dealt_orders(count: int, hands: int) -> dict[str, Order]:
    """Return the orders of items that are dealt out in turn, as to several devices, and collected one after another."""
    dealt = tuple(i for hand in range(hands) for i in range(hand, count, hands))
    collected = tuple(sorted(range(count), key=dealt.__getitem__))
    return {f"as if dealt out in turn to {hands}": dealt, f"as if collected in turn from {hands}": collected}


def more_orders(count: int) -> dict[str, Order]:
    """Return exchanged halves and the like, if the count is even, and every order of a few items, by their words."""
    own, half = tuple(range(count)), count // 2
    found: dict[str, Order] = {}
    if count % 2 == 0:
        found["with its halves exchanged"] = own[half:] + own[:half]
        found["with each two neighbours exchanged"] = tuple(i ^ 1 for i in own)
        found |= dealt_orders(count, 2)
    if count <= FEW_ITEMS:
        found |= {f"in the order {', '.join(map(str, order))}": order for order in permutations(own)}
    return found


def distinct(found: Iterable[tuple[str, Order]]) -> Iterator[tuple[str, Order]]:
    """Yield each order once, without the items' own."""
    known: set[Order] = set()
    for words, order in found:
        if order not in known and order != tuple(range(len(order))):
            known.add(order)
            yield words, order


def row_boundaries(problem: Problem) -> list[int]:
    """Return the indices of the segments whose cotangents have a row for each example, from the last to the first."""

    def has_rows(ref: TensorRef) -> bool:
        shape = problem.graph.spec(ref).shape
        return has_cotangent(problem, ref) and bool(shape) and (shape[0] or 0) % problem.batch.size == 0

    return [index for index in boundaries(problem) if any(map(has_rows, handed_on(problem, index)))]


class OtherRows(AtBoundaries):
    """The hand-off in which the examples of the batch get one another's cotangents at some boundaries."""

    def __init__(self, problem: Problem, at: Collection[Any], *, rows: Sequence[int | None]) -> None:
        """Give example i the cotangent of example `rows[i]`; zeros for None."""
        super().__init__(problem, at)
        self._rows = rows
        self._given: Mapping[TensorRef, Any] = {}

    def drive(self, problem: Problem, all_passes: Sequence[MicroBatchPasses], *, only: Direction | None = None) -> None:
        """Go backward through one segment after another, so that all cotangents of a boundary are known at once."""
        if only != "backward":
            super().drive(problem, all_passes, only="forward")
        for segment in reversed(problem.segments) if only != "forward" else ():
            made = self.refs.intersection(segment.plan.outputs)
            given = {ref: self._exchanged([passes.cotangents.get(ref) for passes in all_passes]) for ref in made}
            for index, passes in enumerate(all_passes):
                self._given = {ref: parts[index] for ref, parts in given.items()}
                passes.backward(segment)

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """Return the rows of other examples."""
        right = super().cotangent(segment, ref, output, cotangent)
        return self._given.get(ref, right)

    def _exchanged(self, parts: Sequence[Any]) -> Sequence[Any]:
        """Return the cotangents of the micro-batches with other rows. An example may have several; None stays None."""
        if any(part is None or not part.shape.rank for part in parts):
            return parts
        sizes = [int(part.shape[0]) for part in parts]
        each, rest = divmod(sum(sizes), len(self._rows))
        if rest:
            return parts
        whole = tf.concat(parts, 0)
        rows = [-1 if row is None else row * each + i for row in self._rows for i in range(each)]
        if None in self._rows:
            whole = tf.concat([whole, tf.zeros_like(whole[:1])], 0)
            rows = [sum(sizes) if row < 0 else row for row in rows]
        found: Sequence[Any] = tf.split(tf.gather(whole, rows), sizes)
        return found
