"""Other engines in the sweep of `keras.ops`."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from gradcheck.config.sections.recipe import Recipe
from gradcheck.sweeping import by_engine
from gradcheck.sweeping.sweep import swept
from gradcheck.sweeping.sweep_report import run_report
from gradcheck.sweeping.swept_functions import Function
from tests.sweeping.test_sweep import Planted, at, planted

ENGINES = [pytest.param("jax"), pytest.param("torch", marks=pytest.mark.on_request)]


@pytest.fixture(autouse=True)
def _these_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the tape, and the engine of the test if there is one."""
    from gradcheck.sweeping import sweep

    names = getattr(getattr(request.node, "callspec", None), "params", {})
    engine = names.get("engine", "jax")
    pytest.importorskip(engine)
    monkeypatch.setattr(sweep, "WAYS", [way for way in sweep.WAYS if way.name in ("numeric", engine)])


def outcomes(name: str, recipe: Any, module: str = "keras.ops") -> tuple[dict[str, str], tuple[str, ...]]:
    function = Function(f"{module}:{name}", getattr(keras.ops, name), Recipe.model_validate(recipe).root)
    run = run_report(swept(function))
    return {check.method: check.outcome for check in run.checks}, run.notes


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("tanh", {"args": ["x"]}),
        ("maximum", {"args": ["x", "x"]}),
        ("take", {"args": ["x", {"value": [0, 2], "dtype": "int32"}]}),
        ("concatenate", {"args": [["x", "x"]], "kwargs": {"axis": 0}}),
        ("matmul", {"args": [{"x": [2, 2]}], "expression": "fn(x, keras.ops.transpose(x))"}),
        ("fft", {"args": [["x", "x"]]}),
    ],
)
def test_it_agrees(engine: str, name: str, recipe: Any) -> None:
    assert outcomes(name, recipe)[0] == {"numeric": "match", engine: "match"}


def test_what_is_wrong_is_so_in_one_engine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Planted("Square", "square", at(lambda x: x > 0, by=1.01), {"args": ["x"]}, "numeric", "given")
    with planted(case.op, case.wrong):
        assert outcomes(case.name, case.recipe)[0] == {"numeric": "mismatch", "jax": "match"}

    asked = by_engine.swept

    def changed(*args: Any, **kwargs: Any) -> Any:
        value, derived = asked(*args, **kwargs)
        return [value + shift, factor * derived]

    monkeypatch.setattr(by_engine, "swept", changed)
    shift, factor = 0.0, 1.01
    assert outcomes(case.name, case.recipe) == ({"numeric": "match", "jax": "mismatch"}, ())
    shift, factor = 0.1, 1.0
    found, notes = outcomes(case.name, case.recipe)
    assert (found, "jax: it is another function there" in notes[0]) == ({"numeric": "match"}, True)


def test_what_cannot_be_asked_says_why() -> None:
    recipe = {"args": ["x"], "expression": "fn(tf.sin(x))"}
    found, notes = outcomes("tanh", recipe)
    assert found == {"numeric": "match"}
    assert notes == ("jax: it cannot run there: it calls tensorflow.sin, which is TensorFlow's",)


def test_it_has_no_functions_but_those_of_keras() -> None:
    assert outcomes("tanh", {"args": ["x"]}, "own") == ({"numeric": "match"}, ())
