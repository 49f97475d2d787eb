"""By how much a difference exceeds what would have been excused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradcheck.numerics import NOISE_FACTOR

if TYPE_CHECKING:
    from gradcheck.results.report import TensorReport


def margin(row: TensorReport) -> float:
    """How many times the difference that would have been excused a failing tensor is off, at its worst element.

    What would be is the tolerance there, atol + rtol·|r|, or the noise floor where that is more. At least 1: the
    element that fails need not be the one that is furthest off.
    """
    if row.status != "mismatch" or row.worst is None or not math.isfinite(row.max_abs_error):
        return math.inf
    excused = row.atol + row.rtol * abs(row.worst.reference)
    excused = max(excused, NOISE_FACTOR * (row.noise_floor or 0.0))
    return max(1.0, row.max_abs_error / excused) if excused else math.inf
