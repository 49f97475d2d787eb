"""A few lines of plain TensorFlow that show a wrong derivative.

Each is run before it is given out: it prints what TensorFlow gets, and a difference quotient of the function beside it.
The simplest that still shows the mistake is taken: single numbers in place of arrays, then one element of the arrays,
then a direction through all of them.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck.engines.asking import TITLES
from gradcheck.sweeping.call_bench import SINGLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.sweeping.call_scalars import Array
    from gradcheck.sweeping.calls import SweptCall
    from gradcheck.sweeping.sweep import WrongDerivative

    #: From the code of a derivative to that of its part along the script's direction.
    _Read = Callable[[str], str]
    #: From a step along the direction, and its size, to the code of a difference quotient.
    _Quotient = Callable[[str, str], str]

#: How far what is got and what is right differ at least, as a share of the larger; less than `SMALL` counts as that.
SHOWN, SMALL = 1e-4, 1e-2
#: By how much difference quotients of two steps may differ, as a share of the larger.
STEADY = 1e-2
#: The decimals of random numbers in a script.
DECIMALS = 2


class Reproducer(NamedTuple):
    """A script of at most eight lines, and what it prints as `got` and `right`."""

    code: str
    got: str
    right: str


def reproducer(call: SweptCall, found: WrongDerivative, modules: Mapping[str, Any]) -> Reproducer | None:
    """Return the simplest script that shows what was found; None if none of them does.

    Args:
        call: the call.
        found: what is wrong.
        modules: those that the script imports beside Keras, TensorFlow and NumPy, by name.
    """
    if found.check in TITLES:  # it would need another process
        return None
    second, made = found.check in _GOT_SECOND, partial(_script, found, list(modules))
    for placed in _placings(call, found):
        for quotient in _SECOND_QUOTIENTS if second else _QUOTIENTS:
            shown, again = (ran(made(placed, quotient, step), modules) for step in _STEPS[second])
            if shown and again and differ(shown.got, shown.right) and _settled(shown.right, again.right):
                return shown
    return None


def _settled(right: str, again: str) -> bool:
    """Whether difference quotients of two steps agree: no kink and no jump lies between the steps."""
    a, b = float(right), float(again)
    return abs(a - b) <= STEADY * max(abs(a), abs(b), SMALL)


def ran(code: str, modules: Mapping[str, Any] = MappingProxyType({})) -> Reproducer | None:
    """Run a script, which may import `modules`, and return it with what it prints; None if it raises."""
    output, before = io.StringIO(), {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(code, "<reproducer>", "exec"), {})  # noqa: S102 - made by this module
    except Exception:  # noqa: BLE001 - such as of a function that takes no single number: the next script
        return None
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)
    printed = dict(line.split(" ", 1) for line in output.getvalue().splitlines() if " " in line)
    return Reproducer(code, printed["got"], printed["right"]) if {"got", "right"} <= printed.keys() else None


def differ(got: str, right: str) -> bool:
    """Whether what is printed as `got` is wrong, if `right` is right; no gradient is wrong where it is not zero."""
    b = float(right)
    a = 0.0 if got == "None" else float(got.removeprefix("tf.Tensor(").partition(",")[0])
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.isfinite(b)
    return abs(a - b) > SHOWN * max(abs(a), abs(b), SMALL)


class _Placed(NamedTuple):
    """A call as a function of `x` alone: its code, the value of x, and the direction of its derivative."""

    code: str
    at: str
    along: str | None = None  # None: x is a single number


def _placings(call: SweptCall, found: WrongDerivative) -> Iterator[_Placed]:
    """Yield the function of the script, the simplest first."""
    values, leaf = [np.round(value, DECIMALS) for value in found.values], found.leaf
    elements = sorted(found.slopes.codes) or found.slopes.which("nonfinite") or list(range(values[leaf].size))
    element = elements[0]
    if all(value.shape == values[leaf].shape for value in values):
        numbers = [repr(float(value.flat[element])) for value in values]
        code = call.code(_texts(numbers, leaf))
        yield from (_Placed(code, numbers[leaf]), _Placed(f"tf.reduce_sum({code})", numbers[leaf]))
    written = [repr(value.tolist()) for value in values]
    unit = np.zeros(values[leaf].shape)
    unit.flat[element] = 1.0
    code = call.code(_texts(written, leaf))
    # The sum of the outputs may be constant, that of their cubes is not.
    yield from (
        _Placed(f"tf.reduce_sum({body})", written[leaf], repr(unit.tolist())) for body in (code, f"{code} ** 3")
    )
    rng = np.random.default_rng(0)
    through = [
        f"({text} + x * tf.constant({_random(rng, v)}, x.dtype))" for text, v in zip(written, values, strict=True)
    ]
    yield _Placed(f"tf.reduce_sum({call.code(through)})", "0.0")


def _random(rng: np.random.Generator, value: Array) -> str:
    drawn = rng.choice([-1.0, 1.0], value.shape) * rng.uniform(0.5, 1.5, value.shape)
    return repr(np.round(drawn, DECIMALS).tolist())


def _texts(values: Sequence[str], leaf: int) -> list[str]:
    """Return the tensors of the call as code: `x` for the one that is differentiated."""
    return ["x" if i == leaf else f"tf.constant({value}, x.dtype)" for i, value in enumerate(values)]


def _script(found: WrongDerivative, own: Sequence[str], placed: _Placed, quotient: _Quotient, step: str) -> str:
    """Return the code. Where TensorFlow gets no gradient the script prints that."""
    scalar = placed.along is None
    along = "tf.ones_like(x)" if scalar else "v"
    *before, derivative = (_GOT | _GOT_SECOND)[found.check](along, _whole if scalar else _along)
    modules = [*((name, True) for name in own), ("numpy as np", "np." in placed.code)]
    modules += [("keras", "keras." in placed.code), ("tensorflow as tf", True)]
    tensor = f'tf.constant({placed.at}, "float64")'
    lines = [
        f"import {', '.join(name for name, needed in modules if needed)}",
        f"f = lambda x: {placed.code}",
        f"x = {tensor}" if scalar else f'x, v = {tensor}, tf.constant({placed.along}, "float64")',
        *before,
        f'print("got", {derivative if not found.slopes.connected else f"float({derivative})"})',
        f'print("right", round(float({quotient(step if scalar else f"{step} * v", step)}), 6))',
    ]
    return "\n".join(lines) + "\n"


def _whole(derivative: str) -> str:
    return derivative


def _along(derivative: str) -> str:
    return f"tf.reduce_sum({derivative} * v)"


def _tape(along: str, read: _Read) -> list[str]:
    del along
    return ["with tf.GradientTape() as tape:", "    tape.watch(x)", "    y = f(x)", read("tape.gradient(y, x)")]


def _tape_in_single(along: str, read: _Read) -> list[str]:
    return [line.replace("f(x)", "f(tf.cast(x, tf.float32))") for line in _tape(along, read)]


def _forward(along: str, read: _Read) -> list[str]:
    del read
    return [f"with tf.autodiff.ForwardAccumulator(x, {along}) as forward:", "    y = f(x)", "forward.jvp(y)"]


def _graph(along: str, read: _Read) -> list[str]:
    del along
    return ["g = tf.function(lambda x: tf.gradients(f(x), x)[0])", read("g(x)")]


def _xla(along: str, read: _Read) -> list[str]:
    del along
    return ["g = tf.function(lambda x: tf.gradients(f(x), x)[0], jit_compile=True)", read("g(x)")]


def _second(along: str, read: _Read) -> list[str]:
    del along
    return [
        "with tf.GradientTape() as outer, tf.GradientTape() as inner:",
        "    outer.watch(x), inner.watch(x)",
        f"    g = {read('inner.gradient(f(x), x)')}",
        read("outer.gradient(g, x)"),
    ]


def _forward_over_reverse(along: str, read: _Read) -> list[str]:
    return [
        f"with tf.autodiff.ForwardAccumulator(x, {along}) as outer, tf.GradientTape() as inner:",
        "    inner.watch(x)",
        f"    g = {read('inner.gradient(f(x), x)')}",
        "outer.jvp(g)",
    ]


def _reverse_over_forward(along: str, read: _Read) -> list[str]:
    return [
        f"with tf.GradientTape() as outer, tf.autodiff.ForwardAccumulator(x, {along}) as inner:",
        "    outer.watch(x)",
        "    g = inner.jvp(f(x))",
        read("outer.gradient(g, x)"),
    ]


def _forward_over_forward(along: str, read: _Read) -> list[str]:
    del read
    accumulator = f"tf.autodiff.ForwardAccumulator(x, {along})"
    return [f"with {accumulator} as outer, {accumulator} as inner:", "    g = inner.jvp(f(x))", "outer.jvp(g)"]


#: How a script differentiates, by check: lines, and last the expression of what is got.
_GOT = {"numeric": _tape, SINGLE: _tape_in_single, "forward": _forward, "graph": _graph, "xla": _xla}
_GOT_SECOND = {
    "second": _second,
    "forward_over_reverse": _forward_over_reverse,
    "reverse_over_forward": _reverse_over_forward,
    "forward_over_forward": _forward_over_forward,
}
#: The steps of difference quotients, and others that must give the same, of the first and of the second order.
_STEPS = {False: ("1e-6", "3e-6"), True: ("1e-4", "3e-4")}
#: Difference quotients with the step `d`, of size `h`: from both sides, or one where the function ends at the point.
_QUOTIENTS = (
    lambda d, h: f"(f(x + {d}) - f(x - {d})) / (2 * {h})",
    lambda d, h: f"(f(x + {d}) - f(x)) / {h}",
    lambda d, h: f"(f(x) - f(x - {d})) / {h}",
)
_SECOND_QUOTIENTS = (lambda d, h: f"(f(x + {d}) - 2 * f(x) + f(x - {d})) / {h} ** 2",)
