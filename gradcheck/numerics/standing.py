"""What a tape's derivative is worth beside the slopes that were measured: the table of points.

A difference quotient knows the slope on either side. Where both agree there is one derivative, and a tape must have it.
Where they do not there is a kink, and a tape may have either slope, or any between. A tape outside of them is denied;
whether it is wrong, or several kinks lie in one place, is told by the gradients nearby (`convicts`): where the
function has one slope or two around the point, each of them is near to one of those measured.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.numerics.differences import Derivative

#: agrees: within the error; kink: between two slopes; infinite: as a slope is, or at a jump; nonfinite: NaN or infinite
#: where a finite number is right; unknown: nothing was measured; denied: a finite number that is none of these.
Standing = Literal["agrees", "kink", "infinite", "nonfinite", "unknown", "denied"]

#: A slope is known to be finite if its error is at most this share of it.
DECISIVE = 1e-3
#: A gradient nearby is near to a slope if it is this share of the larger slope away from it …
NEARBY = 1e-3
#: … and beside an infinite slope it is this many times the tape's own at least.
STEEP = 100.0
#: So many gradients nearby must be finite to tell anything.
ENOUGH = 3


def standing(tape: float, found: Derivative, least: float) -> Standing:
    """How `tape`, a derivative, stands beside the slopes `found`; a difference of `least` is none."""
    low, high = _bounds(found)
    if not math.isfinite(tape):
        unsure = found.left_error + found.right_error if found.kink else found.error
        finite = unsure <= max(least, DECISIVE * abs(found.value)) and tape not in (low, high)
        return "nonfinite" if math.isnan(tape) or finite else "infinite"
    if found.jump or (found.infinite and low <= tape <= high):
        return "infinite"
    if not found.infinite and not math.isfinite(found.error):
        return "unknown"
    if found.kink or found.infinite:
        return "kink" if low - least <= tape <= high + least else "denied"
    return "agrees" if abs(tape - found.value) <= max(found.error, least) else "denied"


def convicts(found: Derivative, tape: float, nearby: Sequence[float], least: float) -> bool:
    """Whether a denied `tape` is wrong: all gradients nearby are what was measured on one of the two sides.

    Elsewhere the slopes around the point are many, and none of them need be what a tape gives at the point itself:
    ReLUs that are all at zero, the middle of three equal numbers.
    """
    finite = [value for value in nearby if math.isfinite(value)]
    if len(finite) < ENOUGH:
        return False
    if found.infinite:
        return min(map(abs, finite)) >= STEEP * max(abs(tape), least)
    slopes = np.array([slope for slope in (found.left, found.right) if math.isfinite(slope)])
    near = max(least, found.left_error, found.right_error, NEARBY * float(np.max(np.abs(slopes))))
    if found.kink:
        near = min(near, 0.25 * abs(found.right - found.left))
    away = np.min(np.abs(np.subtract.outer(np.array(finite), slopes)), axis=1)
    return bool(np.all(away <= near)) and bool(np.min(np.abs(slopes - tape)) > near)


def nearest_slope(tape: float, found: Derivative) -> tuple[float, float]:
    """The slope that `tape` comes nearest to, and its error: what a report shows beside a denied tape."""
    if not found.kink and not found.infinite:
        return found.value, found.error
    sides = ((found.left, found.left_error), (found.right, found.right_error))
    known = [(slope, error if math.isfinite(error) else 0.0) for slope, error in sides if not math.isnan(slope)]
    return min(known, key=lambda side: abs(side[0] - tape))


def _bounds(found: Derivative) -> tuple[float, float]:
    """The lowest and the highest that a slope may be; NaN where nothing is known."""
    sides = ((found.left, found.left_error), (found.right, found.right_error))
    known = [(slope, 0.0 if math.isinf(slope) else error) for slope, error in sides if not math.isnan(slope)]
    low = min((slope - error for slope, error in known), default=math.nan)
    high = max((slope + error for slope, error in known), default=math.nan)
    return low, high
