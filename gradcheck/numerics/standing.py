"""How a tape's derivative compares with measured slopes: the table of points.

Difference quotients measure the slope on either side of a point. Where both agree there is one derivative, and a tape
must return it. Where they differ there is a kink, and a tape may return either slope, or any value between. Any other
value is denied. Whether it is wrong, or several kinks coincide at the point, is decided by the gradients nearby
(`convicts`): where the function has one or two slopes around the point, each of these gradients is close to a measured
slope.
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
#: A gradient nearby is close to a slope if their distance is at most this share of the larger slope …
NEARBY = 1e-3
#: … and beside an infinite slope if it is at least this many times the tape's derivative.
STEEP = 100.0
#: The least number of finite gradients nearby from which anything is concluded.
ENOUGH = 3


def standing(tape: float, found: Derivative, least: float) -> Standing:
    """Return how the derivative `tape` compares with the slopes `found`; differences up to `least` do not count."""
    low, high = _bounds(found)
    if not math.isfinite(tape):
        # An infinite tape may be right unless the slope is known to be finite; NaN never is.
        unsure = found.left_error + found.right_error if found.kink else found.error
        finite = unsure <= max(least, DECISIVE * abs(found.value)) and tape not in (low, high)
        return "nonfinite" if math.isnan(tape) or finite else "infinite"
    # At a jump no finite derivative is wrong: the difference quotients have no limit.
    if found.jump or (found.infinite and low <= tape <= high):
        return "infinite"
    if not found.infinite and not math.isfinite(found.error):
        return "unknown"
    if found.kink or found.infinite:
        return "kink" if low - least <= tape <= high + least else "denied"
    return "agrees" if abs(tape - found.value) <= max(found.error, least) else "denied"


def convicts(found: Derivative, tape: float, nearby: Sequence[float], least: float) -> bool:
    """Whether a denied `tape` is wrong: all `nearby` gradients equal a slope that was measured on one of the two sides.

    Otherwise there are more slopes around the point than two, and the tape's value at the point may be none of them:
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
        # So that a gradient halfway between the two slopes is close to neither.
        near = min(near, 0.25 * abs(found.right - found.left))
    away = np.min(np.abs(np.subtract.outer(np.array(finite), slopes)), axis=1)
    return bool(np.all(away <= near)) and bool(np.min(np.abs(slopes - tape)) > near)


def nearest_slope(tape: float, found: Derivative) -> tuple[float, float]:
    """Return the measured slope nearest to `tape`, and its error, which a report shows beside a denied tape."""
    if not found.kink and not found.infinite:
        return found.value, found.error
    sides = ((found.left, found.left_error), (found.right, found.right_error))
    known = [(slope, error if math.isfinite(error) else 0.0) for slope, error in sides if not math.isnan(slope)]
    return min(known, key=lambda side: abs(side[0] - tape))


def _bounds(found: Derivative) -> tuple[float, float]:
    """Return the lowest and the highest slope that the measurements allow; NaN where nothing is known."""
    sides = ((found.left, found.left_error), (found.right, found.right_error))
    known = [(slope, 0.0 if math.isinf(slope) else error) for slope, error in sides if not math.isnan(slope)]
    low = min((slope - error for slope, error in known), default=math.nan)
    high = max((slope + error for slope, error in known), default=math.nan)
    return low, high
