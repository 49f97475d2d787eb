"""Plain functions under another engine: they are sent as layers are."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.session.configs import CheckOptions
from gradcheck.session.layer import Target, check_layer, layer_config

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.report import CheckReport

CODE = """
import tensorflow as tf
from keras import ops


def scaled(x, by=1.0):
    return tanh(x) * by, ops.sum(x)


def tanh(x):
    return ops.tanh(x)


def row(x, i):
    return ops.take(x, i) * ops.sum(x)


@tf.custom_gradient
def right(x):
    y = ops.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


@tf.custom_gradient
def wrong(x):
    y = ops.tanh(x)
    return y, lambda dy: dy * (1 - y)


@tf.function
def compiled(x):
    return tanh(x)


class Tanh:
    def __call__(self, x):
        return ops.tanh(x)


called = Tanh()


def raw(x):
    return tf.sin(x)
"""
ENGINES = [pytest.param("jax"), pytest.param("torch", marks=pytest.mark.on_request)]


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    names = getattr(getattr(request.node, "callspec", None), "params", {})
    pytest.importorskip(names.get("engine", "jax"))


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The check of a function of `CODE` by an engine."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(dedent(CODE), encoding="utf-8")

    def check(name: str, engine: str = "jax", **options: Any) -> CheckReport:
        given = {"shapes": [(3,)], "dtypes": [None], "kwargs": {}} | options
        target = Target(name=name if ":" in name else f"./own.py:{name}", methods=[engine], **given)
        checks = check_layer(target, layer_config(target), CheckOptions()).run.checks
        return next(check for check in checks if check.method == engine)

    return check


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scaled", {"kwargs": {"by": 2.0}}),
        ("row", {"shapes": [(3,), ()], "dtypes": [None, "int32"], "values": [[1.0, 2.0, 3.0], 1]}),
        ("right", {"precision": "float64"}),
        pytest.param("compiled", {}, marks=pytest.mark.on_request),
        ("called", {}),
        pytest.param("keras.ops:softmax", {}, marks=pytest.mark.on_request),
    ],
)
def test_functions_of_keras_match(of: Any, engine: str, name: str, options: dict[str, Any]) -> None:
    check = of(name, engine, **options)
    assert (check.outcome, check.notes) == ("match", ())
    assert {"input", "output", "loss"} <= {tensor.kind for tensor in check.tensors}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_wrong_custom_gradient_is_convicted(of: Any, engine: str) -> None:
    check = of("wrong", engine)
    assert (check.outcome, [t.path for t in check.failures]) == ("mismatch", ["x"])
    assert check.diagnoses[0].code == "GC806"


@pytest.mark.parametrize(
    ("name", "dtype", "reason"),
    [
        (
            "raw",
            None,
            "function ./own.py:raw raised NotImplementedError: it calls tensorflow.sin, which is TensorFlow's",
        ),
        ("scaled", "complex64", "its inputs are complex, which is not compared across engines"),
    ],
)
def test_what_cannot_be_asked_is_inconclusive_and_says_why(of: Any, name: str, dtype: str | None, reason: str) -> None:
    check = of(name, dtypes=[dtype])
    assert check.outcome == "inconclusive"
    assert check.notes[0].endswith(reason)


def test_a_function_from_python() -> None:
    import keras

    from gradcheck import check_function

    def outcome(function: Any, given: Any) -> str:
        report = check_function(function, given, methods=["jax"])
        (check,) = report.runs[0].checks
        return str(check.outcome)

    x = np.array([0.3, -1.2], "float32")
    assert outcome(lambda x: keras.ops.tanh(x) * x, x) == "match"
    assert outcome(lambda d: keras.ops.tanh(d["a"]) * d["b"], {"a": x, "b": 2 * x}) == "match"
