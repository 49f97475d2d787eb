"""What a comparison comes to where the candidate's elements are known only to within error bars."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.numerics.sparse import to_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck.numerics.comparison import Comparison, Tensor
    from gradcheck.numerics.elements import Array

#: A bar decides if it is at most this share of the tensor's largest element: a fault of one percent is then ten bars.
DECISIVE = 1e-3
#: A tensor this much smaller than the largest is zero but for float64's rounding (a bias before batch norm) …
ROUNDING = 1e-12
#: … and shown to be so by bars of this share of the largest.
ZERO = 1e-6


def too_coarse(reference: Array, bars: Array, scale: float) -> NDArray[np.bool_]:
    """Which of `bars` are too large to decide anything about a tensor like `reference`.

    Args:
        reference: the tensor; finite.
        bars: of its shape.
        scale: the largest element of all tensors, its own and the others'.
    """
    largest = float(np.max(np.abs(reference), initial=0.0))
    limit = ZERO * scale if largest <= ROUNDING * scale else DECISIVE * largest
    coarse: NDArray[np.bool_] = ~(bars <= limit)
    return coarse


def decide(
    comparison: Comparison, reference: Tensor | None, candidate: Tensor | None, bars: Array, scale: float
) -> Comparison:
    """`comparison` of two float64 arrays with the status that the candidate's error `bars` allow.

    An element that is further off than tolerance and bar is wrong, whatever the bar. If none is, one whose bar is too
    coarse leaves the tensor `inconclusive`; all others agree: `close`, or `dead` where the reference is zero. Only
    finite values can be judged so.
    """
    judged = comparison.status in {"exact", "close", "dead", "mismatch"} and math.isfinite(comparison.max_abs_error)
    if not judged or reference is None or candidate is None:
        return comparison
    reference, candidate = to_array(reference), to_array(candidate)
    error = np.abs(candidate - reference)
    if np.any(error > np.maximum(comparison.atol + comparison.rtol * np.abs(reference), bars)):
        return replace(comparison, status="mismatch")
    if np.any(too_coarse(reference, bars, scale)):
        return replace(comparison, status="inconclusive")
    if comparison.status == "mismatch":
        return replace(comparison, status="close" if np.any(reference) else "dead")
    return comparison
