"""A declared rule: what the backward pass should compute is compared with it, and every other mistake still shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.session.configs import CheckOptions
from gradcheck.session.layer import Target, check_layer, layer_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

CODE = """
import keras
import tensorflow as tf


@tf.custom_gradient
def rounded(x):
    return tf.round(4.0 * x) / 4.0, lambda dy: dy


@tf.custom_gradient
def reversed_(x):
    return tf.identity(x), lambda dy: -0.5 * dy


@tf.custom_gradient
def clipped(x):
    return tf.identity(x), lambda dy: tf.clip_by_value(dy, -0.5, 0.5)


@tf.custom_gradient
def halved(x):
    return tf.round(4.0 * x) / 4.0, lambda dy: 0.5 * dy


@tf.custom_gradient
def scaled(x, y):
    return tf.round(x) * y, lambda dy: (dy * y, dy * tf.round(x))


def straight(dy, x):
    return dy


def reversal(dy, x):
    return -0.5 * dy


def clipping(dy, x):
    return tf.clip_by_value(dy, -0.5, 0.5)


def straight_times(dy, x, y):
    return dy * y, dy * tf.round(x)


def two(dy, x):
    return dy, dy


class Rounded(keras.layers.Layer):
    def call(self, x):
        return rounded(x)


class Halved(keras.layers.Layer):
    def call(self, x):
        return halved(x)


@tf.custom_gradient
def square(x):
    return x**2, lambda dy: dy * x


class WrongSquare(keras.layers.Layer):
    def call(self, x):
        return square(x)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def checked(name: str, rule: str | None, inputs: int = 1) -> RunReport:
    target = Target(
        name=f"./own.py:{name}",
        shapes=[(4,)] * inputs,
        dtypes=[None] * inputs,
        kwargs={},
        methods=["numeric"],
        points=["given", "ones"],
        surrogate=rule and f"./own.py:{rule}",
    )
    return check_layer(target, layer_config(target), CheckOptions()).run


@pytest.mark.parametrize(
    ("name", "rule"),
    [("rounded", "straight"), ("Rounded", "straight"), ("reversed_", "reversal"), ("clipped", "clipping")],
)
def test_a_backward_pass_that_follows_its_rule_passes(code: Path, name: str, rule: str) -> None:
    assert code.is_dir()
    report = checked(name, rule)
    assert (report.verdict, [check.outcome for check in report.checks]) == ("pass", ["match", "match"])
    assert checked(name, None).exit_code != 0


def test_a_rule_of_several_inputs(code: Path) -> None:
    assert code.is_dir()
    assert checked("scaled", "straight_times", inputs=2).verdict == "pass"


@pytest.mark.parametrize(("name", "rule"), [("halved", "straight"), ("reversed_", "straight"), ("rounded", "reversal")])
def test_a_backward_pass_that_does_not_follow_its_rule_fails(code: Path, name: str, rule: str) -> None:
    assert code.is_dir()
    report = checked(name, rule)
    assert report.exit_code == 1
    assert all(row.path == "x" for check in report.checks for row in check.failures)


def test_a_rule_that_does_not_fit_is_an_error(code: Path) -> None:
    assert code.is_dir()
    report = checked("rounded", "two")
    assert report.error is not None
    assert "must give one cotangent in the shape of each input" in report.error.message


def config(*layers: Any) -> dict[str, Any]:
    return {
        "model": {"input": {"shape": [4]}, "layers": list(layers)},
        "methods": [{"numeric": {"surrogate": "./own.py:straight"}}],
    }


def before(name: str) -> dict[str, Any]:
    return {"Dense": {"units": 4, "activation": "tanh", "name": name}}


def test_a_quantiser_within_a_model(code: Path, run: Callable[..., RunReport]) -> None:
    right = config(before("first"), {"./own.py:Rounded": {"name": "quant"}}, before("last"))
    assert run(right, {"own.py": CODE}).verdict == "pass"
    wrong = config(before("first"), {"./own.py:Halved": {"name": "quant"}}, before("last"))
    (check,) = run(wrong).checks
    assert {row.path for row in check.failures} == {"input", "first/kernel", "first/bias"}
    assert code.is_dir()


def test_every_other_mistake_still_shows(run: Callable[..., RunReport]) -> None:
    """A bare `expect: mismatch` would hide it; two layers of one's own are more than a rule can be about."""
    layers = [before("first"), {"./own.py:Rounded": {"name": "quant"}}, {"./own.py:WrongSquare": {"name": "wrong"}}]
    report = run(config(*layers, before("last")), {"own.py": CODE})
    assert report.error is not None
    assert (report.error.code, "quant, wrong" in report.error.message) == ("GC031", True)
