"""The comparison with a candidate whose elements are known only to within error bars, as `numeric`'s are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.numerics.sparse import to_array
from gradcheck.results.tensor import DECISIVE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck.numerics.comparison import Tensor
    from gradcheck.numerics.elements import Array
    from gradcheck.results.tensor import Comparison

#: A tensor whose elements are below this share of the largest of all is zero up to float64's rounding (a bias before
#: batch norm) …
ROUNDING = 1e-12
#: … and error bars of at most this share of the largest confirm it.
ZERO = 1e-6


def too_coarse(reference: Array, bars: Array, scale: float) -> NDArray[np.bool_]:
    """Return, for each of `bars`, whether it is too large to decide anything about a tensor like `reference`."""
    largest = float(np.max(np.abs(reference), initial=0.0))
    limit = ZERO * scale if largest <= ROUNDING * scale else DECISIVE * largest
    # `~(<=)` rather than `>`: a bar that is NaN is too coarse.
    coarse: NDArray[np.bool_] = ~(bars <= limit)
    return coarse


def decide(
    comparison: Comparison, reference: Tensor | None, candidate: Tensor | None, bars: Array, scale: float
) -> Comparison:
    """Return `comparison`, of two float64 arrays, with the status that the candidate's error `bars` allow.

    An element that differs by more than its tolerance and by more than its bar is wrong: `mismatch`. If there is none,
    a bar that is `too_coarse` makes the tensor `inconclusive`; otherwise it is `close`, or `dead` where the reference
    is zero. Comparisons with non-finite values are returned unchanged.
    """
    judged = comparison.status in {"exact", "close", "dead", "mismatch"} and math.isfinite(comparison.max_abs_error)
    if not judged or reference is None or candidate is None:
        return comparison
    reference, candidate = to_array(reference), to_array(candidate)
    error = np.abs(candidate - reference)
    # An error within the tolerance is small whatever its bar; an error within its bar may be none.
    if np.any(error > np.maximum(comparison.atol + comparison.rtol * np.abs(reference), bars)):
        return replace(comparison, status="mismatch")
    # After the mismatch: a bar however coarse does not excuse an error beyond it.
    if np.any(too_coarse(reference, bars, scale)):
        return replace(comparison, status="inconclusive")
    if comparison.status == "mismatch":
        return replace(comparison, status="close" if np.any(reference) else "dead")
    return comparison
