"""The sweep of one function: each of its calls, at each point, differentiated in every way."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from gradcheck.building.messages import gist
from gradcheck.errors import NotApplicable
from gradcheck.methods.directional.slopes import AGREE, GOAL, wrong_in
from gradcheck.numerics import largest
from gradcheck.sweeping.calls import Call
from gradcheck.sweeping.judgement import Around, measured
from gradcheck.sweeping.points import points
from gradcheck.sweeping.scalars import FIRST, SECOND, Scalar, by_tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.methods.directional.slopes import Slopes
    from gradcheck.sweeping.functions import Function
    from gradcheck.sweeping.judgement import Measured
    from gradcheck.sweeping.scalars import Array, Derivatives, Values, Way

#: The check of the tape in float32, beside the slopes in float64.
SINGLE = "float32"
#: The share of the largest derivative by which one in float32 may differ …
AGREE_SINGLE = 1e-2
#: … and second derivatives, whose slopes are known to fewer digits.
AGREE_SECOND = 1e-4
#: The checks, in the order of the matrix.
CHECKS = (*list(FIRST)[:1], SINGLE, *list(FIRST)[1:], *SECOND)
#: What is wrong must be so with other random numbers, and with other steps.
TRIALS = ((0, 1.0), (1, 0.37), (2, 2.9))


class Found(NamedTuple):
    """A derivative that is wrong.

    Attributes:
        check: the way that computed it.
        case: the index of the call.
        point: the name of the point.
        leaf: the index of the tensor.
        slopes: the derivatives along its elements, beside the measured ones.
        values: the point itself.
    """

    check: str
    case: int
    point: str
    leaf: int
    slopes: Slopes
    values: Values

    @property
    def code(self) -> str:
        """The code of the most important mistake."""
        return wrong_in(self.slopes)[0].code


@dataclass
class Swept:
    """What became of one function.

    Attributes:
        function: the function.
        calls: its calls, in the order of its cases.
        found: what is wrong.
        tried: the number of points by check and outcome: `match`, `inconclusive`, `convention`.
        left: why something was not tried, by what it is.
        points: the names of the points, by call.
    """

    function: Function
    calls: list[Call] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    tried: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    left: dict[str, str] = field(default_factory=dict)
    points: list[list[str]] = field(default_factory=list)


def swept(function: Function) -> Swept:
    """Sweep a function, in this process. What it raises is a reason for something that was not tried."""
    result = Swept(function)
    for index, case in enumerate(function.cases):
        call = Call(function.function, function.name, case)
        result.calls.append(call)
        result.points.append([])
        if case.skip:
            result.left[_label(function, index)] = case.skip
            continue
        try:
            with _floatx("float64"):
                _sweep(call, index, result)
        except Exception as error:  # noqa: BLE001 - the function's own: the reason why this call is not checked
            reason = str(error) if isinstance(error, NotApplicable) else f"it raises {gist(error)}"
            result.left[_label(function, index)] = reason
    return result


def _label(function: Function, index: int) -> str:
    return f"call {index + 1}" if len(function.cases) > 1 else "the function"


def _sweep(call: Call, index: int, result: Swept) -> None:
    """Sweep one call.

    Raises:
        NotApplicable: if nothing of it can be differentiated, or it draws random numbers.
        Exception: what the function raises at the given point.
    """
    if not call.leaves:
        raise NotApplicable("it takes no floating tensor")
    bench = _Bench(call, *TRIALS[0])
    if not math.isfinite(bench.scalar.first(bench.given)):
        raise NotApplicable("its value is not finite at random inputs: its recipe needs a range")
    if bench.scalar.first(bench.given) != bench.scalar.first(bench.given):
        raise NotApplicable("it draws random numbers")
    for point, values in points(call, TRIALS[0][0]):
        try:
            finite = math.isfinite(bench.scalar.first(values))
        except Exception as error:  # noqa: BLE001 - the function's own: it is not defined at this point
            result.left[f"{_label(result.function, index)} at {point}"] = f"it raises {gist(error)}"
            continue
        if not finite:
            result.left[f"{_label(result.function, index)} at {point}"] = "its value is not finite there"
            continue
        result.points[index].append(point)
        for check, slopes in bench.at(values, result, call.case.order):
            _note(result, bench, check, index, point, values, slopes)


def _note(
    result: Swept, bench: _Bench, check: str, index: int, point: str, values: Values, slopes: dict[int, Slopes]
) -> None:
    """Count the outcome of a check at a point, and keep what is wrong in every trial."""
    wrong = {i: found for i, found in slopes.items() if wrong_in(found)}
    convention = bench.call.case.convention
    if wrong and (convention.get(check) or convention.get("all")):
        result.tried[check]["convention"] += 1
        return
    held = {i: found for i, found in wrong.items() if bench.holds(check, point, i, found)}
    result.found += [Found(check, index, point, i, found, values) for i, found in held.items()]
    if not held:
        decided = any(found.which("agrees", "kink") for found in slopes.values())
        result.tried[check]["match" if decided and not wrong else "inconclusive"] += 1


@contextmanager
def _floatx(name: str) -> Iterator[None]:
    """Set the dtype that Keras gives to Python's numbers."""
    before = keras.config.floatx()
    keras.config.set_floatx(name)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


class _Bench:
    """One call with one set of random numbers.

    Attributes:
        call: the call.
        seed: that of the random numbers.
        stretch: the factor of all steps of differences.
        given: random values.
        scalar: the call as a scalar, in float64.
    """

    def __init__(self, call: Call, seed: int, stretch: float) -> None:
        self.call, self.seed, self.stretch = call, seed, stretch
        self.given = next(values for _, values in points(call, seed))
        self.scalar = Scalar.made(call, self.given, seed)
        self._single = replace(self.scalar, dtype=SINGLE, compiled={})

    def at(
        self, values: Values, result: Swept | None = None, order: int = 2, only: str | None = None
    ) -> Iterator[tuple[str, dict[int, Slopes]]]:
        """Yield each check at a point, or `only` one, with the slopes of every tensor.

        A check that raises is left out, with the reason in `result`.
        """
        groups: list[tuple[Callable[[Values], float], dict[str, tuple[Scalar, Way, float]]]] = [
            (
                self.scalar.first,
                {name: (self.scalar, way, AGREE) for name, way in FIRST.items()}
                | {SINGLE: (self._single, by_tape, AGREE_SINGLE)},
            )
        ]
        if order > 1:
            ways = {name: (self.scalar, way, AGREE_SECOND) for name, way in SECOND.items()}
            groups.append((self.scalar.second, ways))
        for value, ways in groups:
            found: Measured | None = None
            for name, (scalar, way, agree) in ways.items():
                if only not in (None, name):
                    continue
                try:
                    with _floatx(scalar.dtype):
                        derive = partial(_in_floatx, scalar, way)
                        derivatives = derive(values)
                        around = Around(value=value, derive=derive, values=values, stretch=self.stretch, agree=agree)
                        with _floatx("float64"):
                            found = found or _measured(around, derivatives)
                            slopes = around.judged(found, derivatives, seed=self.seed)
                except Exception as error:  # noqa: BLE001 - TensorFlow's own, which says loudly that it cannot
                    if result is not None:
                        result.left.setdefault(name, gist(error))
                    continue
                yield name, slopes

    def holds(self, check: str, point: str, leaf: int, found: Slopes) -> bool:
        """Whether a wrong derivative is wrong in the same way with other random numbers and other steps."""
        code = wrong_in(found)[0].code
        for seed, stretch in TRIALS[1:]:
            other = _Bench(self.call, seed, stretch)
            values = dict(points(self.call, seed))[point]
            slopes = next((slopes for _, slopes in other.at(values, only=check)), {})
            again = wrong_in(slopes[leaf]) if leaf in slopes else []
            if code not in [wrong.code for wrong in again]:
                return False
        return True


def _in_floatx(scalar: Scalar, way: Way, values: Values) -> Derivatives:
    with _floatx(scalar.dtype):
        return way(scalar, values)


def _measured(around: Around, derivatives: Sequence[Array | None]) -> Measured:
    """Return the slopes of every tensor; what is measured once serves every way at the point."""
    sizes = [largest(d) for d in derivatives if d is not None and np.all(np.isfinite(d))]
    goal = GOAL * max(sizes, default=0.0)
    return [measured(around, i, goal=goal) if value.size else () for i, value in enumerate(around.values)]
