"""The table of points: a right derivative is never called wrong, a wrong one is convicted or undecided."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.numerics import Derivative, convicts, derivative, nearest_slope, noise_level, noise_points, standing

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[[float], float]

LEAST = 1e-5
numbers = st.floats(-3, 3).map(lambda x: round(x, 2))
slopes = numbers.filter(lambda x: abs(x) > 0.1)


def measured(function: Function) -> Derivative:
    def vector(points: np.ndarray) -> np.ndarray:
        return np.array([function(float(point)) for point in points])

    return derivative(vector, function(0.0), noise=noise_level(vector(noise_points(1.0))), goal=1e-7)


def smooth(a: float, b: float, c: float) -> tuple[Function, Function]:
    """A smooth function, and its derivative."""
    return lambda x: a * x + b * math.sin(2 * x) + c * x * x, lambda x: a + 2 * b * math.cos(2 * x) + 2 * c * x


@given(a=numbers, b=numbers, c=numbers)
def test_the_derivative_of_a_smooth_function_agrees(a: float, b: float, c: float) -> None:
    function, slope = smooth(a, b, c)
    assert standing(slope(0.0), measured(function), LEAST) == "agrees"


@given(a=numbers, b=numbers, c=numbers, off=slopes)
def test_a_fault_at_one_point_of_a_smooth_function_is_convicted(a: float, b: float, c: float, off: float) -> None:
    function, slope = smooth(a, b, c)
    found, tape = measured(function), slope(0.0) + off
    assert standing(tape, found, LEAST) == "denied"
    assert convicts(found, tape, [slope(x) for x in (1e-6, -1e-6, 5e-7, -3e-7)], LEAST)


@given(left=slopes, right=slopes, share=st.floats(0, 1))
def test_what_lies_between_the_slopes_of_a_kink_is_never_wrong(left: float, right: float, share: float) -> None:
    found = measured(lambda x: (right if x > 0 else left) * x)
    tape = left + share * (right - left)
    assert standing(tape, found, LEAST) == ("kink" if left != right else "agrees")


@given(left=slopes, right=slopes, beyond=st.floats(0.3, 3))
def test_what_lies_outside_of_both_slopes_is_convicted(left: float, right: float, beyond: float) -> None:
    if abs(left - right) < 0.1:
        return
    found = measured(lambda x: (right if x > 0 else left) * x)
    tape = max(left, right) + beyond
    assert standing(tape, found, LEAST) == "denied"
    assert convicts(found, tape, [left, right, right, left], LEAST)


@given(st.lists(st.tuples(slopes, slopes), min_size=2, max_size=6))
def test_several_kinks_in_one_point_are_never_wrong(units: list[tuple[float, float]]) -> None:
    """Σ w relu(u x) at 0: a tape takes relu'(0) = 0, and says 0, which may lie outside of both slopes."""
    found = measured(lambda x: sum(w * max(u * x, 0.0) for w, u in units))
    rng = np.random.default_rng(0)
    biases = rng.normal(size=(6, len(units))) * 1e-6  # a point beside in more dimensions than the one that is moved
    nearby = [sum(w * u for (w, u), b in zip(units, bias, strict=True) if b > 0) for bias in biases]
    verdict = standing(0.0, found, LEAST)
    apart = {round(min(abs(n - found.left), abs(n - found.right)), 3) for n in nearby}
    if verdict == "denied" and apart != {0.0}:
        assert not convicts(found, 0.0, nearby, LEAST)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 2 / 3, 0.75])
def test_an_infinite_slope_is_no_mistake_and_a_number_in_its_place_is(exponent: float) -> None:
    def function(x: float) -> float:
        return math.copysign(abs(x) ** exponent, x)

    found = measured(function)
    assert found.infinite
    assert standing(math.inf, found, LEAST) == "infinite"
    assert standing(math.nan, found, LEAST) == "nonfinite"
    assert standing(0.0, found, LEAST) == "denied"
    nearby = [exponent * abs(x) ** (exponent - 1) for x in (1e-9, -1e-9, 3e-10)]
    assert convicts(found, 0.0, nearby, LEAST)


def test_a_root_that_ends_at_the_point() -> None:
    found = measured(lambda x: math.sqrt(x) if x >= 0 else math.nan)
    assert (found.right, math.isnan(found.left)) == (math.inf, True)
    assert standing(math.inf, found, LEAST) == "infinite"


def test_between_two_infinite_slopes_a_number_is_no_mistake() -> None:
    assert standing(0.0, measured(lambda x: math.sqrt(abs(x))), LEAST) == "infinite"


@pytest.mark.parametrize("guard", [1e-12, 1e-9, 1e-6])
def test_a_guarded_root_has_a_finite_slope(guard: float) -> None:
    found = measured(lambda x: math.sqrt(max(x + guard, 0.0)))
    assert standing(0.5 / math.sqrt(guard), found, LEAST) != "denied"
    assert not found.infinite


@pytest.mark.parametrize("function", [lambda x: float(x > 0), math.floor, lambda x: float(np.sign(x))])
def test_a_jump_has_no_derivative(function: Function) -> None:
    found = measured(function)
    assert found.jump
    assert standing(0.0, found, LEAST) == "infinite"


@given(a=slopes)
def test_what_is_not_finite_beside_finite_slopes_is_told(a: float) -> None:
    found = measured(lambda x: a * x + x * x)
    assert {standing(tape, found, LEAST) for tape in (math.nan, math.inf, -math.inf)} == {"nonfinite"}


KINDS = ("smooth", "kink", "root")


def test_no_verdict_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Smooth functions, kinks and infinite slopes, with a right derivative or a fault: only ever undecided."""
    rng, decided, count = np.random.default_rng(0), 0, 400
    for i in range(count):
        kind, fault = KINDS[i % 3], (0.0, 0.5, -2.0)[int(rng.integers(3))]
        a, b = (float(x) for x in rng.choice([-1, 1], 2) * rng.uniform(0.1, 3, 2))
        function, right, nearby = of_kind(kind, a, b)
        tape = right + fault if math.isfinite(right) else (fault or right)
        found = measured(function)
        verdict = standing(tape, found, LEAST)
        wrong = bool(fault) and not (kind == "kink" and min(a, b) <= tape <= max(a, b))
        convicted = verdict == "nonfinite" or (verdict == "denied" and convicts(found, tape, nearby, LEAST))
        assert convicted <= wrong, (kind, a, b, fault)
        assert verdict != "agrees" or not wrong, (kind, a, b, fault)
        decided += convicted or verdict == "agrees"
    with capsys.disabled():
        print(f" decided: {decided / count:.0%} of {count}", end="")  # noqa: T201 - the share is what is asked for
    assert decided > count / 3


def of_kind(kind: str, a: float, b: float) -> tuple[Function, float, list[float]]:
    """A function, a derivative that a tape may give at 0, and what it gives nearby."""
    if kind == "smooth":
        return lambda x: a * x + b * x**3, a, [a] * 4
    if kind == "kink":
        return lambda x: (a if x > 0 else b) * x, (a + b) / 2, [a, b, a, b]
    return lambda x: math.copysign(math.sqrt(abs(x)), x) * abs(a), math.inf, [1e6] * 4


# The table, row by row, at the limits


def one_slope(value: float, error: float, *, side_errors: float = 0.0) -> Derivative:
    sides = {"left_error": side_errors, "right_error": side_errors}
    return Derivative(value=value, error=error, left=value, right=value, **sides)


def two_slopes(left: float, right: float, left_error: float = 0.0, right_error: float = 0.0) -> Derivative:
    middle, half = (left + right) / 2, abs(right - left) / 2
    errors = {"error": half, "left_error": left_error, "right_error": right_error}
    return Derivative(value=middle, left=left, right=right, kink=True, **errors)


def infinite(left: float, right: float, error: float = 0.0, **more: float) -> Derivative:
    return Derivative(value=left, error=error, left=left, right=right, **more)


@pytest.mark.parametrize(
    ("tape", "found", "least", "expected"),
    [
        (1.25, one_slope(1.0, 0.25), 0.0, "agrees"),
        (0.74, one_slope(1.0, 0.25), 0.0, "denied"),
        (1.125, one_slope(1.0, 0.0), 0.125, "agrees"),
        (0.86, one_slope(1.0, 0.0), 0.125, "denied"),
        (9.0, one_slope(1.0, math.inf), 0.0, "unknown"),
        (0.625, two_slopes(1.0, 2.0, 0.25, 0.5), 0.125, "kink"),
        (0.624, two_slopes(1.0, 2.0, 0.25, 0.5), 0.125, "denied"),
        (2.625, two_slopes(1.0, 2.0, 0.25, 0.5), 0.125, "kink"),
        (2.626, two_slopes(1.0, 2.0, 0.25, 0.5), 0.125, "denied"),
        (1.5, two_slopes(2.0, 1.0), 0.0, "kink"),
        (1.0, infinite(1.0, math.inf), 0.0, "infinite"),
        (0.75, infinite(1.0, math.inf, left_error=0.25, right_error=math.inf), 0.0, "infinite"),
        (0.75, infinite(1.0, math.inf), 0.25, "kink"),
        (0.75, infinite(1.0, math.inf, error=math.inf), 0.125, "denied"),
        (9.0, infinite(-math.inf, math.inf), 0.0, "infinite"),
        (9.0, infinite(math.nan, math.inf), 0.0, "denied"),
        (9.0, Derivative(value=0.0, error=1.0, left=0.0, right=0.0, jump=True), 0.0, "infinite"),
    ],
)
def test_a_finite_derivative(tape: float, found: Derivative, least: float, expected: str) -> None:
    assert standing(tape, found, least) == expected


@pytest.mark.parametrize(
    ("tape", "found", "least", "expected"),
    [
        (math.nan, one_slope(1.0, math.inf), 0.0, "nonfinite"),  # wrong whatever the slope is
        (math.inf, one_slope(-1.0, 1e-3), 0.0, "nonfinite"),
        (math.inf, one_slope(-1.0, 1.01e-3), 0.0, "infinite"),  # the slope is not known to be finite
        (math.inf, one_slope(0.0, 0.125), 0.125, "nonfinite"),
        (math.inf, one_slope(1.0, 0.0, side_errors=1.0), 0.0, "nonfinite"),
        (-math.inf, two_slopes(3.0, 5.0, 2e-3, 2e-3), 0.0, "nonfinite"),
        (-math.inf, two_slopes(3.0, 5.0, 3e-3, 3e-3), 0.0, "infinite"),
        (math.inf, infinite(math.inf, math.inf), 0.0, "infinite"),
        (math.inf, infinite(1.0, math.inf), 0.0, "infinite"),
        (math.inf, Derivative(value=0.0, error=0.0, left=math.nan, right=math.inf), 0.0, "infinite"),
        (-math.inf, infinite(1.0, math.inf), 0.0, "nonfinite"),
    ],
)
def test_a_derivative_that_is_not_finite(tape: float, found: Derivative, least: float, expected: str) -> None:
    assert standing(tape, found, least) == expected


@pytest.mark.parametrize(
    ("found", "tape", "nearby", "least", "wrong"),
    [
        (one_slope(2.0, 0.0), 0.0, [2.0] * 3, 0.0, True),
        (one_slope(2.0, 0.0), 0.0, [2.0] * 2, 0.0, False),  # too few to tell
        (one_slope(2.0, 0.0), 0.0, [2.0, 2.0, math.nan], 0.0, False),
        (one_slope(2.0, 0.0), 0.0, [2.0, math.inf, 2.0, 2.0], 0.0, True),
        (one_slope(2.0, 0.0), 0.0, [2.0, 2.0, 2.0, 5.0], 0.0, False),  # another slope nearby: kinks that meet
        (one_slope(2.0, 0.0), 0.0, [2.125] * 3, 0.125, True),
        (one_slope(2.0, 0.0), 0.0, [2.126] * 3, 0.125, False),
        (one_slope(2.0, 0.0), 1.876, [2.0] * 3, 0.125, False),  # too near to what was measured
        (Derivative(value=2, error=0, left=2, right=2, left_error=0.25), 0.0, [2.25] * 3, 0.0, True),
        (Derivative(value=2, error=0, left=2, right=2, right_error=0.25), 0.0, [2.25] * 3, 0.0, True),
        (one_slope(-2.0, 0.0), 0.0, [-2.0019] * 3, 0.0, True),
        (one_slope(-2.0, 0.0), 0.0, [-2.0021] * 3, 0.0, False),
        (two_slopes(1.0, 3.0), 9.0, [1.0, 3.0, 3.0], 0.0, True),
        (two_slopes(1.0, 3.0), 9.0, [1.0] * 3, 0.0, True),
        (two_slopes(1.0, 3.0), 9.0, [3.0] * 3, 0.0, True),
        (two_slopes(1.0, 3.0), 9.0, [1.0, 2.0, 3.0], 0.0, False),
        (two_slopes(1.0, 3.0), 3.1, [1.0, 3.0, 3.0], 0.125, False),
        (two_slopes(1.0, 2.0), 9.0, [1.25] * 3, 1.0, True),  # no bar blurs the two slopes of a kink
        (two_slopes(1.0, 2.0), 9.0, [1.26] * 3, 1.0, False),
        (infinite(math.inf, math.inf), 0.0, [12.5, -12.5, 13.0], 0.125, True),
        (infinite(math.inf, math.inf), 0.0, [12.4, 99.0, 99.0], 0.125, False),
        (infinite(math.inf, math.inf), -1.0, [100.0] * 3, 0.125, True),
        (infinite(math.inf, math.inf), -1.0, [99.0] * 3, 0.125, False),
    ],
)
def test_the_gradients_nearby_decide(
    found: Derivative, tape: float, nearby: list[float], least: float, wrong: bool
) -> None:
    assert convicts(found, tape, nearby, least) is wrong


@pytest.mark.parametrize(
    ("tape", "found", "expected"),
    [
        (9.0, one_slope(1.0, 0.5, side_errors=0.25), (1.0, 0.5)),
        (0.0, two_slopes(1.0, 3.0, 0.25, 0.5), (1.0, 0.25)),
        (9.0, two_slopes(1.0, 3.0, 0.25, 0.5), (3.0, 0.5)),
        (0.0, infinite(1.0, math.inf, error=2.0, left_error=0.25), (1.0, 0.25)),
        (0.0, infinite(math.nan, math.inf, right_error=math.inf), (math.inf, 0.0)),
    ],
)
def test_the_slope_that_is_shown_beside_a_denied_derivative(
    tape: float, found: Derivative, expected: tuple[float, float]
) -> None:
    assert nearest_slope(tape, found) == expected
