"""Wrong gradients planted in TensorFlow's own registry: each is found, and nothing else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import forwardprop
from tensorflow.python.framework import ops as registry

from gradcheck.config.sections.recipe import Recipe
from gradcheck.sweeping.reproducer import differ, ran
from gradcheck.sweeping.sweep import swept
from gradcheck.sweeping.sweep_report import run_report
from gradcheck.sweeping.swept_functions import Function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.results.report import RunReport

NONE, TWO = (), ["x", "x"]


class Planted(NamedTuple):
    """A wrong gradient in place of the registered one, and where it must be found."""

    op: str
    name: str
    wrong: Callable[[Any, Any, Any], Any]  # from the operation, its cotangent and the right gradients
    recipe: Any
    check: str
    point: str
    clean: tuple[str, ...] = ()  # checks that must find nothing


def at(where: Callable[[Any], Any], by: float = 0.5) -> Callable[[Any, Any, Any], Any]:
    """The right gradient, times a factor where a condition on the first input holds."""
    return lambda op, _, right: _first(right, lambda g: tf.where(where(op.inputs[0]), g * tf.cast(by, g.dtype), g))


def _first(gradients: Any, change: Callable[[Any], Any]) -> Any:
    return [change(gradients[0]), *gradients[1:]] if isinstance(gradients, (list, tuple)) else change(gradients)


def _axis(op: Any, _: Any, right: Any) -> Any:
    last = tf.reduce_all(tf.equal(op.inputs[1], 1))
    return _first(right, lambda g: tf.where(last, g * 2, g))


def _tanh(op: Any, cotangent: Any, _: Any) -> Any:
    y = op.outputs[0]
    return cotangent * tf.where(tf.equal(y, 0), tf.cast(0.5, y.dtype), 1 - y * y)


UNARY, BINARY = {"args": ["x"]}, {"args": TWO}
PLANTED = {
    "at one point": Planted("Tanh", "tanh", _tanh, UNARY, "numeric", "zeros"),
    "in one dtype": Planted(
        "Sinh",
        "sinh",
        at(lambda x: tf.fill(tf.shape(x), x.dtype == tf.float32)),
        UNARY,
        "float32",
        "given",
        ("numeric",),
    ),
    "in one order": Planted(
        "TanhGrad", "tanh", at(lambda y: y < 0), UNARY, "second", "negative", ("numeric", "forward")
    ),
    "along one axis": Planted(
        "Sum",
        "reduce_sum",
        _axis,
        [{"args": [{"x": [2, 2]}], "kwargs": {"axis": axis}} for axis in (0, 1)],
        "numeric",
        "given",
    ),
    "at a tie": Planted(
        "Mul",
        "multiply",
        lambda op, _, g: [tf.where(tf.equal(*op.inputs[:2]), 0 * g[0], g[0]), g[1]],
        BINARY,
        "numeric",
        "same",
    ),
    "where it is large": Planted("Softplus", "softplus", at(lambda x: x > 15), UNARY, "numeric", "saturated"),
    "of one sign": Planted("Cosh", "cosh", at(lambda x: x < 0, by=-1.0), UNARY, "numeric", "negative"),
    "in one argument": Planted("Sub", "subtract", lambda _, __, g: [g[0], None], BINARY, "numeric", "given"),
    "in a graph": Planted(
        "Sigmoid",
        "sigmoid",
        lambda _, __, g: g if tf.executing_eagerly() else 2 * g,
        UNARY,
        "graph",
        "given",
        ("numeric",),
    ),
    "not a number": Planted("Square", "square", at(lambda x: tf.equal(x, 0), by=np.nan), UNARY, "numeric", "one_zero"),
    "a little": Planted("Expm1", "expm1", at(lambda x: x > 0, by=1.001), UNARY, "numeric", "given"),
}


@contextmanager
def planted(op: str, wrong: Callable[[Any, Any, Any], Any]) -> Iterator[None]:
    entry = registry.gradient_registry._registry[op]
    right = entry["type"]

    def changed(operation: Any, *cotangents: Any) -> Any:
        return wrong(operation, cotangents[0], right(operation, *cotangents))

    entry["type"] = changed
    try:
        yield
    finally:
        entry["type"] = right
        forwardprop._jvp_function_cache.__init__()  # forward mode compiles the gradients that it meets


def report_of(name: str, function: Callable[..., Any], recipe: Any) -> RunReport:
    return run_report(swept(Function(name, function, Recipe.model_validate(recipe).root)))


def wrong_checks(run: RunReport) -> dict[str, str]:
    return {
        check.method: " ".join(t.path for t in check.failures) for check in run.checks if check.outcome == "mismatch"
    }


@pytest.mark.third
@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_gradient_is_found(case: Planted) -> None:
    with planted(case.op, case.wrong):
        run = report_of(f"tf.math:{case.name}", getattr(tf.math, case.name), case.recipe)
        found = wrong_checks(run)
        assert run.verdict == "fail", run.notes
        assert f"at {case.point} " in found[case.check]
        assert not found.keys() & set(case.clean)
        (diagnosis, *_) = next(check for check in run.checks if check.method == case.check).diagnoses
        assert diagnosis.reproducer is not None
        shown = ran(diagnosis.reproducer)
        assert shown is not None
        assert differ(shown.got, shown.right)
    assert len(diagnosis.reproducer.splitlines()) <= 8
    assert "gradcheck" not in diagnosis.reproducer
    mended = ran(diagnosis.reproducer)
    assert mended is not None
    assert not differ(mended.got, mended.right)


@pytest.mark.parametrize("name", ["tanh", "maximum", "reduce_max"])
def test_a_right_gradient_passes(name: str) -> None:
    recipe = BINARY if name == "maximum" else UNARY
    run = report_of(f"tf.math:{name}", getattr(tf.math, name), recipe)
    assert run.verdict == "pass", wrong_checks(run)
    assert [check.method for check in run.checks if check.outcome != "match"] == []


@pytest.mark.parametrize(
    ("function", "recipe", "why"),
    [
        (lambda x: x > 0, UNARY, "it returns bool"),
        (lambda x: x + np.random.default_rng().normal(), UNARY, "draws random numbers"),
        (tf.range, {"args": [3]}, "takes no floating tensor"),
        (lambda x: tf.sqrt(-tf.abs(x)), UNARY, "not finite at random inputs"),
        (lambda x: x[7], UNARY, "it raises"),
        (tf.tanh, {"skip": "for a reason"}, "for a reason"),
    ],
)
def test_what_cannot_be_swept_says_why(function: Callable[..., Any], recipe: Any, why: str) -> None:
    run = report_of("own:fn", function, recipe)
    assert run.verdict == "vacuous"
    assert why in run.notes[0]


def test_a_convention_is_no_mistake() -> None:
    def straight(x: Any) -> Any:
        return x + tf.stop_gradient(tf.round(x) - x)

    convention = {"args": ["x"], "convention": {"all": "straight through"}}
    assert report_of("own:straight", straight, UNARY).verdict == "fail"
    run = report_of("own:straight", straight, convention)
    assert run.verdict != "fail"
    assert "by convention: straight through" in run.checks[0].notes


def test_an_infinite_slope_and_a_jump_are_not_judged() -> None:
    assert report_of("own:root", tf.sqrt, {"args": [{"x": [2], "range": [1, 2]}]}).verdict == "pass"
    assert report_of("tf.math:atan2", tf.math.atan2, BINARY).verdict == "pass"
