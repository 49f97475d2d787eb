"""The margin by which a difference exceeds the tolerance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradcheck.numerics import NOISE_FACTOR

if TYPE_CHECKING:
    from gradcheck.results.report import TensorReport


def margin(row: TensorReport) -> float:
    """Return the difference of a failing tensor at its worst element, as a multiple of the largest excused difference.

    The excused difference is atol + rtol·|r| there, or the noise floor times its factor if that is larger. The result
    is at least 1, because the worst element need not be the failing one. It is infinite if the tensors have no finite
    difference, such as for a gradient that is None, or if no difference is excused.
    """
    if row.status != "mismatch" or row.worst is None or not math.isfinite(row.max_abs_error):
        return math.inf
    excused = row.atol + row.rtol * abs(row.worst.reference)
    excused = max(excused, NOISE_FACTOR * (row.noise_floor or 0.0))
    return max(1.0, row.max_abs_error / excused) if excused else math.inf
