"""The sweep of one function: each of its calls, at each point, differentiated in every way."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck.building.messages import gist
from gradcheck.errors import NotApplicable
from gradcheck.methods.directional.slopes import Slopes, wrong_in
from gradcheck.sweeping.call_bench import TRIALS, WAYS, CallBench
from gradcheck.sweeping.calls import SweptCall

if TYPE_CHECKING:
    from gradcheck.handoff.interface import Wrong
    from gradcheck.sweeping.call_scalars import Values
    from gradcheck.sweeping.swept_functions import Function

#: Where a derivative is wrong at this many points, more are counted without further trials.
ENOUGH = 2


class WrongDerivative(NamedTuple):
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
    def wrong(self) -> Wrong:
        """The most important mistake."""
        return wrong_in(self.slopes)[0]

    @property
    def kind(self) -> tuple[str, int, int, str]:
        """What it has in common with what is wrong at other points for the same reason."""
        return self.check, self.case, self.leaf, self.wrong.code


@dataclass
class Swept:
    """What became of one function.

    Attributes:
        function: the function.
        calls: its calls, in the order of its cases.
        found: what is wrong.
        tried: the number of points by check and outcome: `match`, `mismatch`, `inconclusive`, `convention`, and `same`
            where a derivative is as wrong as that of the first way of its order.
        left: why something was not tried, by what it is.
    """

    function: Function
    calls: list[SweptCall] = field(default_factory=list)
    found: list[WrongDerivative] = field(default_factory=list)
    tried: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    left: dict[str, str] = field(default_factory=dict)


def swept(function: Function) -> Swept:
    """Sweep a function, in this process. What it raises is a reason for something that was not tried."""
    result = Swept(function)
    for index, case in enumerate(function.cases):
        call = SweptCall(function.function, function.name, case)
        result.calls.append(call)
        try:
            _CallSweep(call, index, result).run()
        except Exception as error:  # noqa: BLE001 - the function's own: the reason why this call is not checked
            reason = str(error) if isinstance(error, NotApplicable) else f"it raises {gist(error)}"
            result.left[_where(function, index)] = reason
    return result


def _where(function: Function, index: int, point: str = "") -> str:
    """Return which call is meant, and which point."""
    parts = [*([f"call {index + 1}"] if len(function.cases) > 1 else []), *([f"at {point}"] if point else [])]
    return " ".join(parts) or "all"


@dataclass
class _CallSweep:
    """The sweep of one call."""

    call: SweptCall
    index: int
    result: Swept

    @cached_property
    def bench(self) -> CallBench:
        """The call with the random numbers and the steps of the first trial."""
        return CallBench(self.call, *TRIALS[0])

    @cached_property
    def others(self) -> list[CallBench]:
        """The same of the other trials, which only what is wrong needs."""
        return [CallBench(self.call, seed, stretch) for seed, stretch in TRIALS[1:]]

    def run(self) -> None:
        """Sweep the call.

        Raises:
            NotApplicable: if nothing of it can be differentiated, or it draws random numbers.
            Exception: what the function raises at the given point.
        """
        if self.call.case.skip:
            raise NotApplicable(self.call.case.skip)
        if not self.call.leaves:
            raise NotApplicable("it takes no floating tensor")
        bench = self.bench
        value = bench.eager(bench.given)
        if not math.isfinite(value):
            raise NotApplicable("its value is not finite at random inputs: its recipe needs a range")
        if bench.eager(bench.given) != value:
            raise NotApplicable("it draws random numbers")
        for point, values in bench.points.items():
            where = _where(self.result.function, self.index, point)
            try:
                finite = math.isfinite(bench.value(values))
            except Exception as error:  # noqa: BLE001 - the function's own: it is not defined at this point
                self.result.left[where] = f"it raises {gist(error)}"
                continue
            if not finite:
                self.result.left[where] = "its value is not finite there"
                continue
            self._at(point, values)

    def _at(self, point: str, values: Values) -> None:
        """Judge every way at one point."""
        bench, first = self.bench, dict[bool, dict[int, Slopes]]()
        for way in WAYS:
            # Differences of a gradient that is wrong here say nothing of the second order.
            if way.second and (self.call.case.order == 1 or any(map(wrong_in, first.get(False, {}).values()))):
                break
            if way.engine and not self.call.name.startswith("keras.ops."):
                continue
            try:
                slopes = bench.judged(way, values)
            except Exception as error:  # noqa: BLE001 - TensorFlow's own, which says loudly that it cannot
                self.result.left.setdefault(way.name, gist(error))
                continue
            reverse = first.setdefault(way.second, slopes)
            self.result.tried[way.name][self._outcome(way.name, point, values, slopes, reverse)] += 1

    def _outcome(
        self, check: str, point: str, values: Values, slopes: dict[int, Slopes], reverse: dict[int, Slopes]
    ) -> str:
        """Return the outcome of a check at a point; keep what is wrong in every trial."""
        wrong = [i for i, found in slopes.items() if wrong_in(found)]
        if not wrong:
            decided = any(found.which("agrees", "kink") for found in slopes.values())
            return "match" if decided else "inconclusive"
        if self.call.case.convention.keys() & {check, "all"}:
            return "convention"
        if slopes is not reverse and all(_alike(slopes[i], reverse[i]) for i in wrong):
            known = {id(one.slopes) for one in self.result.found}
            return "same" if all(id(reverse[i]) in known for i in wrong) else "inconclusive"
        found = [WrongDerivative(check, self.index, point, i, slopes[i], values) for i in wrong]
        held = [one for one in found if self._known(one) or self._holds(one)]
        self.result.found += held
        return "mismatch" if held else "inconclusive"

    def _known(self, found: WrongDerivative) -> bool:
        """Whether the same is wrong at enough other points, so that one more needs no further trials."""
        alike = [one for one in self.result.found if one.kind == found.kind]
        return len({one.point for one in alike}) >= ENOUGH

    def _holds(self, found: WrongDerivative) -> bool:
        """Whether a derivative is wrong in the same way with other random numbers and other steps."""
        for other in self.others:
            way = next(way for way in WAYS if way.name == found.check)
            slopes = other.judged(way, other.points[found.point])[found.leaf]
            if found.wrong.code not in [wrong.code for wrong in wrong_in(slopes)]:
                return False
        return True


def _alike(slopes: Slopes, reverse: Slopes) -> bool:
    """Whether the derivatives are as wrong as those in reverse mode: equal to them, but for rounding."""
    ours, theirs = slopes.probe.tape, reverse.probe.tape
    return bool(wrong_in(reverse)) and np.allclose(ours, theirs, rtol=slopes.agree, atol=slopes.least, equal_nan=True)
