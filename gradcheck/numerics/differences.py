"""The derivative of a noisy function of one variable at 0, by finite differences, with an error estimate.

Difference quotients over a ladder of steps h are extrapolated to h = 0 (Ridders, "Accurate computation of F'(x) and
F'(x)F''(x)", Adv. Eng. Software 4, 1982), and of all estimates the one with the smallest error is taken: the step
adapts itself. The error is truncation (how far estimates of neighbouring orders and of smaller steps disagree) plus
rounding (the noise of the function over the step). The noise is measured, not assumed, by difference tables (Moré and
Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011): a sum that cancels, or a function that passes
through float32 somewhere, is noisier than its value tells.

Quotients to the right and to the left are extrapolated on their own as well. Where they stay apart the function has a
kink at 0; one that lies a little beside 0 drops out of the smaller steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

#: The unit of rounding of float64.
EPS = 2.0**-52
#: Steps, relative to the scale of the argument: what a smooth function needs, and the rest. Powers of two are exact.
FIRST_STEPS = np.exp2([-9.0, -12.0, -15.0])
MORE_STEPS = np.exp2([-3.0, -6.0, -18.0, -21.0, -24.0])
#: Columns of the extrapolation table. More only amplify noise.
ORDERS = 4
#: Rounding in a quotient is bounded by this many standard deviations of the function's noise over the step.
DEVIATIONS = 4
#: The spacing of the points for `noise_level`, relative to the scale, and how many there are.
NOISE_SPACING = 2.0**-22
NOISE_POINTS = 11


@dataclass(frozen=True, kw_only=True)
class Derivative:
    """An estimate of f'(0).

    Attributes:
        value: the estimate; at a kink the middle of the two slopes.
        error: how far the truth may be from it; at a kink this covers both slopes. Infinity: nothing is known.
        left, right: the slopes on the two sides; NaN where f is not finite on that side.
        kink: whether the slopes stay apart however small the step.
    """

    value: float
    error: float
    left: float
    right: float
    kink: bool = False


def noise_level(values: Array, eps: float = EPS) -> float:
    """The standard deviation of the noise in equally spaced `values` of a function, by their third differences.

    Those of independent normal noise with deviation s have the deviation s·√20, and so a median size of 0.6745·√20·s;
    those of the smooth part are of the order of the spacing cubed. The median, for a kink among the points moves three
    of the differences only. No less than the rounding of the values themselves, by `eps`.
    """
    finite = values[np.isfinite(values)]
    rounding = eps * float(np.max(np.abs(finite), initial=0.0))
    sizes = np.abs(np.diff(finite, 3))
    return max(rounding, float(np.median(sizes)) / (0.6745 * math.sqrt(20))) if len(sizes) else rounding


def noise_points(scale: float) -> Array:
    """Where to evaluate a function whose argument has the size `scale`, for `noise_level`; all on one side of 0."""
    return np.arange(NOISE_POINTS, dtype=np.float64) * np.float64(NOISE_SPACING * scale)


def derivative(
    function: Callable[[Array], Array], at_zero: float, *, noise: float, goal: float, scale: float = 1.0
) -> Derivative:
    """f'(0) with an error estimate.

    Args:
        function: f at a vector of points, as a vector; it may give values that are not finite.
        at_zero: f(0).
        noise: the standard deviation of f's rounding errors (`noise_level`).
        goal: an error that is small enough: a ladder of three steps then suffices, else there are eight.
        scale: the size of changes of the argument that change f noticeably.
    """
    ladder = _Ladder(function, at_zero, noise)
    ladder.climb(FIRST_STEPS * scale)
    found = ladder.estimate()
    if found.kink or not found.error <= goal:
        ladder.climb(MORE_STEPS * scale)
        found = ladder.estimate()
    return found


class _Ladder:
    """The values of a function at ±h for a growing set of steps h, the largest first."""

    def __init__(self, function: Callable[[Array], Array], at_zero: float, noise: float) -> None:
        self._function, self._at_zero, self._noise = function, at_zero, noise
        self._steps = self._right = self._left = np.empty(0)

    def climb(self, steps: Array) -> None:
        """Evaluates the function at ±`steps`, all at once."""
        values = np.asarray(self._function(np.concatenate([steps, -steps])), np.float64)
        right, left = np.split(values, 2)
        steps = np.concatenate([self._steps, steps])
        order = np.argsort(-steps)
        self._steps = steps[order]
        self._right = np.concatenate([self._right, right])[order]
        self._left = np.concatenate([self._left, left])[order]

    def estimate(self) -> Derivative:
        """What the values so far say."""
        h = self._steps
        values = np.concatenate([self._right, self._left])
        if math.isfinite(self._at_zero) and np.all(values == self._at_zero):  # no slope that the noise would not hide
            return Derivative(value=0.0, error=DEVIATIONS * self._noise / float(h[0]), left=0.0, right=0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            right, right_error = self._extrapolated((self._right - self._at_zero) / h, power=1)
            left, left_error = self._extrapolated((self._at_zero - self._left) / h, power=1)
            central, error = self._extrapolated((self._right - self._left) / (2 * h), power=2)
        if not (math.isfinite(right) and math.isfinite(left) and math.isfinite(central)):
            known = [slope for slope in (right, left) if math.isfinite(slope)]
            return Derivative(value=known[0] if known else math.nan, error=math.inf, left=left, right=right)
        apart, unsure = abs(right - left), right_error + left_error
        if apart > 2 * unsure:
            return Derivative(value=(right + left) / 2, error=apart / 2 + unsure, left=left, right=right, kink=True)
        return Derivative(value=central, error=error, left=left, right=right)

    def _extrapolated(self, quotients: Array, *, power: int) -> tuple[float, float]:
        """The limit of `quotients` for h to 0, whose error is a series in h^`power`, and its error; NaN for none."""
        finite = np.isfinite(quotients)
        h, column = self._steps[finite], quotients[finite]
        rounding = DEVIATIONS * self._noise / h + EPS * np.abs(column)
        best, best_error = math.nan, math.inf
        for order in range(min(ORDERS, len(h))):
            if order:  # Neville's scheme in h^power: column k eliminates the k-th term of the series
                ratios = (h[:-order] / h[order:]) ** power
                previous, column = column, column[1:] + np.diff(column) / (ratios - 1)
                truncation = np.maximum(np.abs(column - previous[1:]), np.abs(column - previous[:-1]))
            else:
                truncation = np.abs(np.diff(column, prepend=math.inf))
            errors = np.maximum(truncation, _contradicted(column, rounding[order:])) + rounding[order:]
            smallest = int(np.argmin(errors)) if len(errors) else 0
            if len(errors) and errors[smallest] < best_error:
                best, best_error = float(column[smallest]), float(errors[smallest])
        return best, best_error


def _contradicted(column: Array, rounding: Array) -> Array:
    """By how much some smaller step denies each estimate, beyond its own rounding: agreement by luck ends here."""
    gaps = np.abs(column[:, np.newaxis] - column) - rounding
    smaller = np.triu(np.ones_like(gaps, dtype=bool), k=1)
    denied: Array = np.max(np.where(smaller, gaps, 0.0), axis=1, initial=0.0)
    return denied
