"""One call with one set of random numbers, and every way to differentiate it, judged by the same slopes."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.precision import kept_precision
from gradcheck.engines.asking import TITLES, is_installed
from gradcheck.methods.directional.slopes import AGREE, GOAL
from gradcheck.numerics import largest
from gradcheck.sweeping.beside_slopes import AroundPoint, measured
from gradcheck.sweeping.by_engine import by_engine
from gradcheck.sweeping.call_scalars import FIRST, SECOND, Scalar, by_tape
from gradcheck.sweeping.special_points import points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.methods.directional.slopes import Slopes
    from gradcheck.sweeping.beside_slopes import Measured
    from gradcheck.sweeping.call_scalars import Derivatives, Values, Way
    from gradcheck.sweeping.calls import SweptCall

#: The check of the tape in float32, beside slopes in float64.
DOUBLE, SINGLE = "float64", "float32"
#: The share of the largest derivative by which one in float32 may differ …
AGREE_SINGLE = 1e-2
#: … or, where what large terms leave is small, by this share of these …
ROUNDING = 1e-5
#: … and second derivatives, whose slopes are known to fewer digits.
AGREE_SECOND = 1e-4
#: The seconds from which a scalar is compiled, to be computed many times, and how far it may then differ.
SLOW, SAME = 1.5e-3, 1e-13
#: The seeds and the factors of all steps. What is wrong must be wrong in every trial.
TRIALS = ((0, 1.0), (1, 0.37), (2, 2.9))


class NamedWay(NamedTuple):
    """A way to differentiate, as a check.

    Attributes:
        name: of the check.
        derive: the way.
        dtype: that of its tensors.
        agree: the share of the largest derivative by which it may differ.
        second: whether it differentiates twice.
        engine: whether it is another engine's, which has the functions of `keras.ops` alone.
    """

    name: str
    derive: Way
    dtype: str = DOUBLE
    agree: float = AGREE
    second: bool = False
    engine: bool = False


#: Every check, in the order in which they run; the first is the tape.
WAYS = (
    *(NamedWay(name, way) for name, way in FIRST.items()),
    NamedWay(SINGLE, by_tape, dtype=SINGLE, agree=AGREE_SINGLE),
    *(NamedWay(name, by_engine(name), engine=True) for name in TITLES if is_installed(name)),
    *(NamedWay(name, way, agree=AGREE_SECOND, second=True) for name, way in SECOND.items()),
)


class CallBench:
    """One call with one set of random numbers.

    Attributes:
        points: the values of every point by its name.
        given: those of the first point, which are random.
    """

    def __init__(self, call: SweptCall, seed: int, stretch: float) -> None:
        """Draw the numbers. `stretch` is a factor of all steps of differences."""
        self._seed, self._stretch = seed, stretch
        self.points = dict(points(call, seed))
        self.given = next(iter(self.points.values()))
        with _floatx(DOUBLE):
            scalar = Scalar.made(call, self.given, seed)
        self._scalars = {DOUBLE: scalar, SINGLE: replace(scalar, dtype=SINGLE, compiled={})}
        self._fast: dict[bool, Callable[[Values], float]] = {}
        self._slopes: dict[tuple[bool, int], tuple[Values, Measured]] = {}

    def value(self, values: Values, *, second: bool = False) -> float:
        """Return the scalar of the call; of the second order r·∇f. Where that is slow, it is compiled."""
        if second not in self._fast:
            start = time.perf_counter()
            found = self.eager(values, second=second)
            if time.perf_counter() - start > SLOW:
                self._fast[second] = self._compiled(values, found, second=second)
            return found
        return self._fast[second](values)

    def eager(self, values: Values, *, second: bool = False) -> float:
        """Return the scalar as it is without compiling."""
        with _floatx(DOUBLE):
            return self._scalars[DOUBLE].value(values, second=second)

    def _compiled(self, values: Values, found: float, *, second: bool) -> Callable[[Values], float]:
        """Return the compiled scalar, if it is the same at `values`; the eager one if not."""
        scalar, eager = self._scalars[DOUBLE], partial(self.eager, second=second)
        made = scalar.reading if second else scalar.of
        function = tf.function(lambda *tensors: made(tensors), autograph=False)

        def compiled(values: Values) -> float:
            with _floatx(DOUBLE):
                return float(function(*scalar.tensors(values)))

        try:
            same = np.isclose(compiled(values), found, rtol=SAME, atol=0, equal_nan=True)
        except Exception:  # noqa: BLE001 - it cannot be compiled
            return eager
        return compiled if same else eager

    def judged(self, way: NamedWay, values: Values) -> dict[int, Slopes]:
        """Return the derivatives of a way at a point, by tensor, beside the measured slopes."""
        scalar = self._scalars[way.dtype]

        def derive(at: Values) -> Derivatives:
            with _floatx(way.dtype):
                return way.derive(scalar, at)

        def value(at: Values) -> float:
            return self.value(at, second=way.second)

        derivatives = derive(values)
        around = AroundPoint(
            value=value,
            derive=derive,
            values=values,
            stretch=self._stretch,
            agree=way.agree,
            rounding=ROUNDING * self._scalars[DOUBLE].steepness(values) if way.dtype == SINGLE else 0.0,
        )
        return around.judged(self._measured(around, derivatives, second=way.second), derivatives, seed=self._seed)

    def _measured(self, around: AroundPoint, derivatives: Derivatives, *, second: bool) -> Measured:
        """Return the slopes of every tensor; what is measured once serves every way at the point."""
        key = (second, id(around.values))
        if key not in self._slopes:
            sizes = [largest(d) for d in derivatives if d is not None and np.all(np.isfinite(d))]
            goal = GOAL * max(sizes, default=0.0)
            found = [measured(around, i, goal=goal) if value.size else () for i, value in enumerate(around.values)]
            self._slopes[key] = around.values, found  # the values live as long as what they are found by
        return self._slopes[key][1]


@contextmanager
def _floatx(name: str) -> Iterator[None]:
    """Set the dtype that Keras gives to Python's numbers."""
    with kept_precision():
        keras.config.set_floatx(name)
        yield
