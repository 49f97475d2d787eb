"""The errors of a failing tensor in brief: how many elements are off by how much, and a sample of both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gradcheck.numerics.elements import BLOCK, absolute_error, blocks, real_parts
from gradcheck.numerics.sparse import SparseRows, align, to_array
from gradcheck.results.report import FAILING
from gradcheck.results.tensor import Comparison, Spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck.numerics.comparison import Tensor
    from gradcheck.numerics.elements import Array

_Compared = TypeVar("_Compared", bound=Comparison)

#: The largest numbers of bins, of sampled elements with the largest errors, and of those taken evenly from the tensor.
BINS, WORST, EVEN = 16, 16, 48
#: `frexp` gives exponents from -1073, of the smallest subnormal number, to 1024.
_LOWEST, _EXPONENTS = -1074, 2100


def with_spread(comparison: _Compared, reference: Tensor | None, candidate: Tensor | None) -> _Compared:
    """Return the comparison of these two tensors with the spread of its errors, if it failed."""
    if comparison.status not in FAILING:
        return comparison
    return replace(comparison, spread=spread(reference, candidate))


def spread(reference: Tensor | None, candidate: Tensor | None, *, block: int = BLOCK) -> Spread | None:
    """Return the spread of |candidate - reference| in one pass over both; None where they cannot be subtracted.

    Args:
        reference: any shape and dtype that `compare` takes; of sparse tensors the rows that either has.
        candidate: the same tensor, computed by another method.
        block: elements per block, which bounds the memory.
    """
    if reference is None or candidate is None:
        return None
    if tuple(reference.shape) != tuple(candidate.shape) or reference.dtype != candidate.dtype:
        return None
    if isinstance(reference, SparseRows) and isinstance(candidate, SparseRows):
        _, r, c = align(reference, candidate)
    else:
        r, c = to_array(reference), to_array(candidate)
    r, c = real_parts(r), real_parts(c)
    return _spread(r, c, block) if r.size else None


def _spread(r: Array, c: Array, block: int) -> Spread:
    exponents = np.zeros(_EXPONENTS, np.int64)
    worst, places = np.zeros(0), np.zeros(0, np.int64)
    equal = nonfinite = 0
    with np.errstate(all="ignore"):
        pairs = zip(blocks(r, block), blocks(c, block), strict=True)
        for start, (x, y) in zip(range(0, r.size, block), pairs, strict=True):
            error = absolute_error(x, y)
            finite = np.isfinite(error)
            off = error[finite & (error > 0)]
            exponents += np.bincount(np.frexp(off)[1] - _LOWEST, minlength=_EXPONENTS)
            nonfinite += int(error.size - np.count_nonzero(finite))
            equal += int(np.count_nonzero(error == 0))
            ranked = np.where(finite, error, np.inf)
            further = np.flatnonzero(ranked > (worst[-1] if worst.size == WORST else 0.0))
            worst, places = np.append(worst, ranked[further]), np.append(places, start + further)
            leading = np.argsort(-worst, kind="stable")[:WORST]
            worst, places = worst[leading], places[leading]
        edges, counts = _binned(exponents)
    sample = np.union1d(places, np.linspace(0, r.size - 1, EVEN).astype(np.int64))
    return Spread(
        edges=edges,
        counts=counts,
        equal=equal,
        nonfinite=nonfinite,
        reference=_values(r, sample),
        candidate=_values(c, sample),
    )


def _binned(exponents: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the edges and counts of at most `BINS` bins, each of which is equally many powers of two wide."""
    used = np.flatnonzero(exponents)
    if not used.size:
        return (), ()
    first, last = int(used[0]), int(used[-1])
    width = -(-(last - first + 1) // BINS)
    starts = np.arange(first, last + 1, width)
    counts = np.add.reduceat(exponents[: last + 1], starts)
    # An error with the exponent e is at least 2^(e - 1).
    edges = np.ldexp(1.0, np.append(starts, starts[-1] + width) + (_LOWEST - 1))
    return tuple(edges.tolist()), tuple(counts.tolist())


def _values(array: Array, sample: NDArray[np.int64]) -> tuple[float, ...]:
    return tuple(array.flat[sample].astype(np.float64).tolist())
