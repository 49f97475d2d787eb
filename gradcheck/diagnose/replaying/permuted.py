"""The order in which the rows of a cotangent came back, whatever it is: solved for, then replayed (GC111)."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.comparing.keys import as_array
from gradcheck.diagnose.effort import REPLAYS
from gradcheck.diagnose.replaying.replays import Match, agreement_with
from gradcheck.faults.boundary.other_rows import row_boundaries
from gradcheck.faults.boundary.rows_reordered import in_order
from gradcheck.numerics import to_vector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.diagnose.replaying.replays import Replayed
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import TensorKey

    Vector = NDArray[np.float64]

#: The most examples for which an order is searched: it takes a backward pass for each pair of them.
MOST_ROWS = 12
#: How often the search starts from another order.
STARTS = 40
#: How much of the observed change an order may leave unexplained, as a share of it.
LEFT = 1e-2


def with_rows(observed: Observed, replayed: Replayed, *, end: float, effort: Effort) -> Match | None:
    """Return the fault in which the rows of one boundary's cotangent came back in some order; None if none fits.

    The gradients before the boundary are a sum over the examples i, each a product of the Jacobian of example i and the
    row that it got. Of all products of a Jacobian and a row one for each example is chosen, so that the sum is the
    observed one: by exchanges of two rows, as long as they bring it nearer.

    Args:
        observed: a mismatch that no known fault explains.
        replayed: the replays of the problem.
        end: the `time.monotonic()` at which replays stop, in seconds.
        effort: collects the replays that raise.
    """
    problem, at = observed.problem, observed.last_wrong_segment
    rows = problem.batch.size
    if at is None or observed.wrong_values or not 1 < rows <= MOST_ROWS or at not in row_boundaries(problem):
        return None
    single = [in_order(problem, at, _one(rows, i, j)) for i in range(rows) for j in range(rows)]
    keys = [key for key in observed.wrong_gradients if key.kind == "weight"]
    products = []
    for injection in single:
        found = effort.attempt(REPLAYS, partial(_vector, replayed, keys, injection))
        if found is None or time.monotonic() > end:
            return None
        products.append(found)
    nothing = _vector(replayed, keys, in_order(problem, at, (None,) * rows))
    seen = _flat(keys, [observed.arrays[key] for key in keys])
    if nothing is None or seen is None or seen.shape != nothing.shape:
        return None
    order = _order(np.reshape(products, (rows, rows, -1)) - nothing, seen - nothing)
    if order is None:
        return None
    injection = in_order(problem, at, order)
    agreement = effort.attempt(REPLAYS, partial(agreement_with, observed, replayed, injection))
    return None if agreement is None else Match(injection, agreement)


def _one(rows: int, i: int, j: int) -> tuple[int | None, ...]:
    """Return the order in which example i gets row j, and the others none."""
    return tuple(j if row == i else None for row in range(rows))


def _vector(replayed: Replayed, keys: Sequence[TensorKey], injection: Injection) -> Vector | None:
    tensors = replayed.replays.gradients(injection).tensors
    return _flat(keys, [tensors.get(key) for key in keys])


def _flat(keys: Sequence[TensorKey], tensors: Sequence[object]) -> Vector | None:
    arrays = [as_array(tensor) for tensor in tensors]
    if not keys or any(array is None for array in arrays):
        return None
    return np.concatenate([to_vector(a) for a in arrays if a is not None])


def _order(products: NDArray[np.float64], seen: Vector) -> tuple[int, ...] | None:
    """Return the order whose products add up to `seen`; None if none does.

    Args:
        products: of shape (examples, rows, elements).
        seen: the observed sum, of shape (elements,).
    """
    count, far = len(products), float(np.linalg.norm(seen))
    random = np.random.default_rng(0)
    for start in range(STARTS):
        order = np.arange(count) if not start else random.permutation(count)
        apart = _improved(products, seen, order)
        if far and apart <= LEFT * far:
            return tuple(map(int, order))
    return None


def _improved(products: NDArray[np.float64], seen: Vector, order: NDArray[np.int64]) -> float:
    """Exchange two items of `order`, in place, as long as that helps; return how far the sum is from `seen`."""
    examples = np.arange(len(order))
    rest = seen - products[examples, order].sum(axis=0)
    apart = float(np.linalg.norm(rest))
    while True:
        best = None
        for i, j in _pairs(len(order)):
            moved = products[i, order[i]] + products[j, order[j]] - products[i, order[j]] - products[j, order[i]]
            nearer = float(np.linalg.norm(rest + moved))
            if nearer < apart * (1 - 1e-9):
                best, apart, best_rest = (i, j), nearer, rest + moved
        if best is None:
            return apart
        order[list(best)] = order[list(best[::-1])]
        rest = best_rest


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for j in range(count) for i in range(j))
