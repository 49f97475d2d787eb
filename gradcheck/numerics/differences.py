"""The derivative of a noisy function of one variable at 0, by finite differences, with an error estimate.

Difference quotients for a series of steps h are extrapolated to h = 0 (Ridders, "Accurate computation of F'(x) and
F'(x)F''(x)", Adv. Eng. Software 4, 1982), and the estimate with the smallest error is taken, so that the step adapts
itself. The error is truncation (how far estimates of neighbouring orders and of smaller steps disagree) plus rounding
(the noise of the function divided by the step). The noise is measured by difference tables, not assumed (Moré and Wild,
"Estimating computational noise", SIAM J. Sci. Comput. 33, 2011): a sum that cancels, or a function that computes in
float32 somewhere, is noisier than its value shows.

The one-sided quotients, to the right and to the left, are extrapolated on their own as well. Where the two limits stay
apart the function has a kink at 0; a kink that lies a little beside 0 no longer affects the smaller steps. Where the
changes of f shrink more slowly than the steps, however small, the slope is infinite, or f jumps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

#: The unit of rounding of float64.
EPS = 2.0**-52
#: Steps, relative to the scale of the argument; the first suffice for a smooth function. Powers of two are exact.
FIRST_STEPS = np.exp2([-9.0, -12.0, -15.0])
MORE_STEPS = np.exp2([-3.0, -6.0, -18.0, -21.0, -24.0])
#: More steps where the slope seems to be infinite: a guard such as sqrt(x + 1e-12) makes it finite at these.
TINY_STEPS = np.exp2(-np.arange(27.0, 61.0, 3.0))
#: The least step, as a share of the number that it is added to: the sum has it to within three per cent.
RESOLVED = 32 * EPS
#: Changes like h^a, with an exponent a below this at every one of the smallest steps, mean an infinite slope …
INFINITE_EXPONENT = 0.985
#: … and a jump below this. The exponents are taken between the `SMALLEST` smallest steps, if every change there is over
#: `ABOVE_NOISE` times the noise.
JUMP_EXPONENT, SMALLEST, ABOVE_NOISE = 0.05, 5, 100
#: Columns of the extrapolation table. More only amplify noise.
ORDERS = 4
#: Rounding in a quotient is bounded by this many standard deviations of the function's noise, divided by the step.
DEVIATIONS = 4
#: The spacing of the points for `noise_level`, relative to the scale, and how many there are.
NOISE_SPACING = 2.0**-22
NOISE_POINTS = 16
#: The first of these points, relative to the scale: away from 0, where a slope may be infinite.
NOISE_OFFSET = 2.0**-6


@dataclass(frozen=True, kw_only=True)
class Derivative:
    """An estimate of f'(0).

    Attributes:
        value: the estimate; at a kink the mean of the two slopes; where f is finite on one side only, the slope there.
        error: a bound on the distance from `value` to the true derivative; at a kink it covers both slopes. Infinity:
            nothing is known.
        left, right: the slopes on the two sides; NaN where f is not finite on that side, or the slope is unknown.
        left_error, right_error: bounds on the errors of the two slopes.
        kink: whether the slopes stay apart however small the step.
        steepest: the largest of all difference quotients; 0 where f does not change at all.
        jump: whether f itself does not approach f(0), on either side: then the slopes there are infinite.
    """

    value: float
    error: float
    left: float
    right: float
    left_error: float = 0.0
    right_error: float = 0.0
    steepest: float = 0.0
    kink: bool = False
    jump: bool = False

    @property
    def infinite(self) -> bool:
        """Whether a slope is infinite on some side."""
        return math.isinf(self.left) or math.isinf(self.right)


def noise_level(values: Array, eps: float = EPS) -> float:
    """Return the standard deviation of the noise in equally spaced `values` of a function, by third differences.

    For independent normal noise of standard deviation s, third differences have the standard deviation s·√20 (20 is 1 +
    9 + 9 + 1, the squared binomial coefficients), and three quarters of them have a size below 1.1503·√20·s. The third
    differences of the smooth part are of the order of the spacing cubed. The quantile of three quarters is robust: a
    kink among the points affects three differences only, and the median would be zero where values are rounded to few
    digits. The result is at least the rounding of the values themselves, by `eps`.
    """
    finite = values[np.isfinite(values)]
    rounding = eps * float(np.max(np.abs(finite), initial=0.0))
    sizes = np.abs(np.diff(finite, 3))
    return max(rounding, float(np.quantile(sizes, 0.75)) / (1.1503 * math.sqrt(20))) if len(sizes) else rounding


def noise_points(scale: float) -> Array:
    """Return the points for `noise_level`, for an argument of size `scale`; all lie on one side of 0."""
    points: Array = (NOISE_OFFSET + np.arange(NOISE_POINTS) * NOISE_SPACING) * np.float64(scale)
    return points


def derivative(
    function: Callable[[Array], Array],
    at_zero: float,
    *,
    noise: float,
    goal: float,
    scale: float = 1.0,
    around: float = 0.0,
) -> Derivative:
    """Estimate f'(0), with an error estimate, by Ridders' extrapolation of difference quotients.

    Args:
        function: f on a vector of points, returning a vector; its values need not be finite.
        at_zero: f(0).
        noise: the standard deviation of f's rounding errors (`noise_level`).
        goal: an error that is small enough: if three steps reach it no more are taken, else there are eight or more.
        scale: the size of changes of the argument that change f noticeably.
        around: the largest number that a step is added to: steps below `RESOLVED` of it are lost in its rounding.
    """
    ladder = _Ladder(function, at_zero, noise)
    ladder.climb(FIRST_STEPS * scale)
    found = ladder.estimate()
    # A kink that lies beside 0, not at it, shows in the large steps only: smaller ones decide.
    if found.kink or not found.error <= goal:
        ladder.climb(MORE_STEPS * scale)
        found = ladder.estimate()
        if found.infinite:
            tiny = TINY_STEPS * scale
            ladder.climb(tiny[tiny >= RESOLVED * around])
            found = ladder.estimate()
    return found


class _Ladder:
    """The values of a function at ±h for a growing set of steps h, the largest first."""

    def __init__(self, function: Callable[[Array], Array], at_zero: float, noise: float) -> None:
        self._function, self._at_zero, self._noise = function, at_zero, noise
        self._steps = self._right = self._left = np.empty(0)

    def climb(self, steps: Array) -> None:
        """Evaluate the function at ±`steps`, in one call."""
        values = np.asarray(self._function(np.concatenate([steps, -steps])), np.float64)
        right, left = np.split(values, 2)
        steps = np.concatenate([self._steps, steps])
        order = np.argsort(-steps)
        self._steps = steps[order]
        self._right = np.concatenate([self._right, right])[order]
        self._left = np.concatenate([self._left, left])[order]

    def estimate(self) -> Derivative:
        """Return the derivative that the values so far determine."""
        h = self._steps
        values = np.concatenate([self._right, self._left])
        if math.isfinite(self._at_zero) and np.all(values == self._at_zero):  # noise hides any slope
            return Derivative(value=0.0, error=DEVIATIONS * self._noise / float(h[0]), left=0.0, right=0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            right, right_error = self._slope(self._right - self._at_zero, sign=1)
            left, left_error = self._slope(self._left - self._at_zero, sign=-1)
            central, error = self._extrapolated((self._right - self._left) / (2 * h), power=2)
            steepest = np.abs(np.concatenate([self._right - self._at_zero, self._left - self._at_zero])) / np.tile(h, 2)
        steepest = float(np.max(steepest, initial=0.0, where=np.isfinite(steepest)))
        told = partial(
            Derivative, steepest=steepest, left=left, right=right, left_error=left_error, right_error=right_error
        )
        # The central quotient is finite at an infinite slope that is even (√|x|): it alone must not decide.
        if not (math.isfinite(right) and math.isfinite(left) and math.isfinite(central)):
            known = [(slope, e) for slope, e in ((right, right_error), (left, left_error)) if math.isfinite(slope)]
            value, error = known[0] if len(known) == 1 and self._one_sided() else (math.nan, math.inf)
            return told(value=value, error=error, jump=self._jumps())
        # The errors are estimates themselves, so a kink needs a gap of twice their sum.
        apart, unsure = abs(right - left), right_error + left_error
        if apart > 2 * unsure:
            return told(value=(right + left) / 2, error=apart / 2 + unsure, kink=True)
        return told(value=central, error=error)

    def _slope(self, changes: Array, *, sign: int) -> tuple[float, float]:
        """Return the one-sided slope and its error; infinite where f's `changes` shrink too slowly with the step."""
        exponents = self._exponents(changes)
        if len(exponents) and np.all(exponents < INFINITE_EXPONENT):
            return math.copysign(math.inf, sign * changes[-1]), math.inf
        return self._extrapolated(sign * changes / self._steps + 0.0, power=1)  # + 0.0 turns -0.0 into 0.0

    def _exponents(self, changes: Array) -> Array:
        """Return the exponents a in |change| ~ h^a between the smallest steps; empty where noise may determine them."""
        sizes, steps = np.abs(changes[-SMALLEST:]), self._steps[-SMALLEST:]
        if not np.all(np.isfinite(sizes)) or np.any(sizes <= ABOVE_NOISE * self._noise):
            return np.empty(0)
        exponents: Array = np.diff(np.log(sizes)) / np.diff(np.log(steps))
        return exponents

    def _jumps(self) -> bool:
        """Whether f does not approach f(0) on some side."""
        with np.errstate(invalid="ignore"):
            sides = [self._exponents(values - self._at_zero) for values in (self._right, self._left)]
        return any(len(side) and bool(np.all(side < JUMP_EXPONENT)) for side in sides)

    def _one_sided(self) -> bool:
        """Whether f is finite on one side only, however small the step: 0 is an end of its domain."""
        return bool(np.isfinite(self._right[-1]) != np.isfinite(self._left[-1]))

    def _extrapolated(self, quotients: Array, *, power: int) -> tuple[float, float]:
        """Extrapolate `quotients`, whose error is a series in h^`power`, to h = 0; NaN if none is finite.

        Returns:
            The limit and its error.
        """
        finite = np.isfinite(quotients)
        h, column = self._steps[finite], quotients[finite]
        rounding = DEVIATIONS * self._noise / h + EPS * np.abs(column)
        best, best_error = math.nan, math.inf
        for order in range(min(ORDERS, len(h))):
            if order:  # Neville's scheme in h^power: column k eliminates the k-th term of the error series
                ratios = (h[:-order] / h[order:]) ** power
                previous, column = column, column[1:] + np.diff(column) / (ratios - 1)
                truncation = np.maximum(np.abs(column - previous[1:]), np.abs(column - previous[:-1]))
            else:
                # The first quotient has no larger step to be compared with: infinity keeps it from being chosen.
                truncation = np.abs(np.diff(column, prepend=math.inf))
            errors = np.maximum(truncation, _contradicted(column, rounding[order:])) + rounding[order:]
            smallest = int(np.argmin(errors)) if len(errors) else 0
            if len(errors) and errors[smallest] < best_error:
                best, best_error = float(column[smallest]), float(errors[smallest])
        return best, best_error


def _contradicted(column: Array, rounding: Array) -> Array:
    """Return by how much later estimates, of smaller steps, differ from each one beyond their own rounding."""
    # Two neighbouring estimates may agree by chance; estimates from all smaller steps do not.
    gaps = np.abs(column[:, np.newaxis] - column) - rounding
    smaller = np.triu(np.ones_like(gaps, dtype=bool), k=1)
    denied: Array = np.max(np.where(smaller, gaps, 0.0), axis=1, initial=0.0)
    return denied
