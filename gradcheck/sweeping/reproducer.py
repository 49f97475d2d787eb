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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck.sweeping.call_bench import SINGLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.sweeping.call_scalars import Array
    from gradcheck.sweeping.calls import SweptCall
    from gradcheck.sweeping.sweep import WrongDerivative

    #: From the code of a derivative to that of its part along the script's direction.
    _Read = Callable[[str], str]
    #: From what a step is multiplied by to the code of a difference quotient.
    _Quotient = Callable[[str], str]

#: How far what is got and what is right differ at least, as a share of the larger; less than `SMALL` counts as that.
SHOWN, SMALL = 1e-4, 1e-2
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
    for placed in _placings(call, found):
        for quotient in _SECOND_QUOTIENTS if found.check in _GOT_SECOND else _QUOTIENTS:
            script = _script(found.check, placed, quotient, list(modules), none=not found.slopes.connected)
            shown = ran(script, modules)
            if shown is not None and differ(shown.got, shown.right):
                return shown
    return None


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
    yield _Placed(f"tf.reduce_sum({call.code(_texts(written, leaf))})", written[leaf], repr(unit.tolist()))
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


def _script(check: str, placed: _Placed, quotient: _Quotient, own: Sequence[str], *, none: bool) -> str:
    """Return the code; with `none` TensorFlow gets no gradient, and the script prints that."""
    scalar = placed.along is None
    along = "tf.ones_like(x)" if scalar else "v"
    *before, derivative = (_GOT | _GOT_SECOND)[check](along, _whole if scalar else _along)
    modules = [*((name, True) for name in own), ("numpy as np", "np." in placed.code)]
    modules += [("keras", "keras." in placed.code), ("tensorflow as tf", True)]
    tensor = f'tf.constant({placed.at}, "float64")'
    lines = [
        f"import {', '.join(name for name, needed in modules if needed)}",
        f"f = lambda x: {placed.code}",
        f"x = {tensor}" if scalar else f'x, v = {tensor}, tf.constant({placed.along}, "float64")',
        *before,
        f'print("got", {derivative if none else f"float({derivative})"})',
        f'print("right", round(float({quotient("" if scalar else " * v")}), 6))',
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
#: Difference quotients along `v`: from both sides, or from one where the function ends at the point.
_QUOTIENTS = (
    lambda v: f"(f(x + 1e-6{v}) - f(x - 1e-6{v})) / 2e-6",
    lambda v: f"(f(x + 1e-6{v}) - f(x)) / 1e-6",
    lambda v: f"(f(x) - f(x - 1e-6{v})) / 1e-6",
)
_SECOND_QUOTIENTS = (lambda v: f"(f(x + 1e-4{v}) - 2 * f(x) + f(x - 1e-4{v})) / 1e-8",)
