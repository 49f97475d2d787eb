"""Two implementations side by side: equal ones, wrong gradients, wrong values, wrong points, wrong second order."""

from __future__ import annotations

from contextlib import chdir
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.session.configs import CheckOptions
from gradcheck.session.layer import Target, check_layer, layer_config

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.report import CheckReport, RunReport

CODE = """
import keras
import numpy as np
import tensorflow as tf


def plain(x):
    return tf.nn.relu(x) * tf.sin(x)


@tf.custom_gradient
def fused(x):
    positive = tf.cast(x > 0, x.dtype)
    return positive * x * tf.sin(x), lambda dy: dy * positive * (tf.sin(x) + x * tf.cos(x))


@tf.custom_gradient
def wrong_gradient(x):
    positive = tf.cast(x > 0, x.dtype)
    return positive * x * tf.sin(x), lambda dy: dy * positive * (tf.sin(x) - x * tf.cos(x))


def wrong_value(x):
    return 1.01 * plain(x)


def relu(x):
    return tf.nn.relu(x)


def leaky_at_zero(x):
    return tf.where(x < 0, 0.0 * x, x)


@tf.custom_gradient
def two_at_ones(x):
    return tf.nn.relu(x), lambda dy: dy * tf.where(x == 1, 2.0, tf.cast(x > 0, x.dtype))


def cube(x):
    return x**3


@tf.custom_gradient
def cube_stopped(x):
    return x**3, lambda dy: dy * 3.0 * tf.stop_gradient(x) ** 2


def cube_by_product(x):
    return x * x * x


class Cube:
    def forward(self, x):
        self.x = x
        return x**3

    def backward(self, dy):
        return 3.0 * self.x**2 * dy


class WrongCube(Cube):
    def backward(self, dy):
        return 2.0 * self.x**2 * dy


class Scaled(keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 2))
        self.scale = self.add_weight(name="scale", shape=(2,))
        self.mean = self.add_weight(name="mean", shape=(2,), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        y = x @ self.kernel
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(y, axis=0))
        return (y - (0.0 if training else self.mean)) * self.scale


class Other(keras.layers.Layer):
    momentum = 0.9

    def build(self, shape):
        self.v = self.add_weight(name="v", shape=(shape[-1], 2), initializer="ones")
        self.g = self.add_weight(name="g", shape=(2,))
        self.average = self.add_weight(name="average", shape=(2,), trainable=False)

    def call(self, x, training=None):
        y = tf.einsum("bi,io->bo", x, self.v)
        if training:
            self.average.assign(self.momentum * self.average + (1 - self.momentum) * tf.reduce_mean(y, axis=0))
        return tf.einsum("bo,o->bo", y - (0.0 if training else self.average), self.g)


class Slower(Other):
    momentum = 0.99


class Unscaled(keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 2))

    def call(self, x):
        return x @ self.kernel


def pair(x):
    return plain(x), x


def total(x):
    return tf.reduce_sum(x)
"""


@pytest.fixture(autouse=True)
def _code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(CODE, encoding="utf-8")


def run(name: str, *others: str, **options: Any) -> RunReport:
    given = {"shapes": [(2,)], "dtypes": [None], "points": ["given"], "methods": ["forward"]} | options
    against = [f"./own.py:{other}" for other in others]
    target = Target(name=f"./own.py:{name}", kwargs={}, against=against, **given)
    return check_layer(target, layer_config(target), CheckOptions()).run


def of(report: RunReport, label: str = "against") -> CheckReport:
    (check,) = (check for check in report.checks if check.method == label)
    return check


def statuses(check: CheckReport) -> dict[str, str]:
    return {f"{t.kind} {t.path}": t.status for t in check.tensors}


def evidence(check: CheckReport) -> str:
    (diagnosis,) = check.diagnoses
    assert diagnosis.code == "GC807"
    return diagnosis.evidence


@pytest.fixture(scope="module")
def beside_plain(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """`plain` beside three others, in one run."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "own.py").write_text(CODE, encoding="utf-8")
    with chdir(folder):
        return run("plain", "fused", "wrong_gradient", "wrong_value")


def test_a_fused_function_that_is_right(beside_plain: RunReport) -> None:
    check = of(beside_plain, "against[fused]")
    assert check.outcome == "match"
    assert statuses(check).keys() == {"input x", "output plain", "loss loss"}
    assert set(statuses(check).values()) <= {"exact", "close"}
    assert check.sides[:2] == ("plain", "fused")


def test_a_wrong_gradient_is_the_side_that_finite_differences_contradict(beside_plain: RunReport) -> None:
    check = of(beside_plain, "against[wrong_gradient]")
    assert (beside_plain.exit_code, check.outcome) == (1, "mismatch")
    assert statuses(check)["input x"] == "mismatch"
    said = evidence(check)
    assert "the outputs agree" in said
    assert "finite differences agree with the gradients of plain;" in said
    assert "finite differences contradict the gradients of wrong_gradient (x)" in said


def test_a_wrong_value_is_another_function(beside_plain: RunReport) -> None:
    check = of(beside_plain, "against[wrong_value]")
    assert check.outcome == "mismatch"
    assert statuses(check)["output plain"] == "mismatch"
    said = evidence(check)
    assert "the outputs differ: these are two functions" in said
    assert "contradict" not in said


def test_a_gradient_that_is_wrong_at_one_point() -> None:
    report = run("relu", "two_at_ones", points=["given", "ones"])
    assert [of(report, name).outcome for name in ("against", "against[ones]")] == ["match", "mismatch"]
    assert "contradict the gradients of two_at_ones" in evidence(of(report, "against[ones]"))


def test_two_conventions_at_a_kink_are_undecided() -> None:
    report = run("relu", "leaky_at_zero", points=["given", "zeros"])
    assert report.exit_code == 0
    check = of(report, "against[zeros]")
    assert (check.outcome, statuses(check)["input x"]) == ("inconclusive", "inconclusive")
    assert "kink" in (next(t.note for t in check.tensors if t.path == "x") or "")


def test_a_numpy_class_beside_a_function() -> None:
    assert of(run("cube", "Cube")).outcome == "match"
    report = run("cube", "WrongCube")
    assert report.exit_code == 1
    assert "contradict the gradients of WrongCube (x)" in evidence(of(report))


def test_second_order() -> None:
    report = run("cube", "cube_stopped", order=2)
    assert (report.exit_code, of(report).outcome) == (1, "match")
    check = of(report, "against[second order]")
    assert statuses(check) == {"input x": "mismatch"}
    assert "finite differences contradict the second order of cube_stopped (x)" in evidence(check)
    assert of(run("cube", "cube_by_product", order=2), "against[second order]").outcome == "match"


def test_layers_get_the_same_weights_and_state() -> None:
    report = run("Scaled", "Other", methods=["numeric"])
    assert report.verdict == "pass", report
    assert {"against", "against[inference]"} <= {check.method for check in report.checks}
    assert {kind.partition(" ")[0] for kind in statuses(of(report))} == {"input", "output", "loss", "weight", "state"}
    slower = run("Scaled", "Slower")
    assert slower.exit_code == 1
    assert [name for name, status in statuses(of(slower)).items() if status == "mismatch"] == ["state scaled/mean"]


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("Scaled", "Unscaled", "Unscaled has other weights than Scaled"),
        ("plain", "pair", "pair has other outputs than plain"),
        ("plain", "total", "total has other outputs than plain"),
        ("plain", "nothing", "nothing"),
    ],
)
def test_what_cannot_be_compared_is_one_error(name: str, other: str, said: str) -> None:
    report = run(name, other)
    assert report.exit_code in (2, 3)
    assert report.error is not None
    assert said in report.error.message
