"""What reference and candidate share: a split that agrees with the whole, and a tape that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config.sections.methods import METHODS
from gradcheck.reporters.parts.words import failure_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

CODE = '''
import keras
import numpy as np
import tensorflow as tf


class Block(keras.layers.Layer):
    """Dense, and dropout or batch norm, rematerialised or not."""

    def __init__(self, inner="dropout", remat=True, **kwargs):
        super().__init__(**kwargs)
        self.remat = remat
        self.dense = keras.layers.Dense(6, activation="tanh")
        self.inner = keras.layers.Dropout(0.5) if inner == "dropout" else keras.layers.BatchNormalization()

    def build(self, shape):
        self.dense.build(shape)
        self.inner.build((shape[0], 6))

    def call(self, x, training=None):
        def run(t):
            return self.inner(self.dense(t), training=training)

        return keras.remat(run)(x) if self.remat else run(x)

    def compute_output_shape(self, shape):
        return (shape[0], 6)


@tf.custom_gradient
def square(x):
    return x**2, lambda dy: 1.9 * dy * x


class Square(keras.layers.Layer):
    def call(self, x):
        return square(x)


@tf.custom_gradient
def right_square(x):
    return x**2, lambda dy: 2.0 * dy * x


class Normed(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.BatchNormalization()

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x, training=None):
        return right_square(self.norm(x, training=training))


class Weighted(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 2), name="w", initializer="glorot_uniform")

    def compute_output_spec(self, x):
        return keras.KerasTensor((x.shape[0], 2), dtype=self.compute_dtype)


class Stopped(Weighted):
    def call(self, x):
        return tf.stop_gradient(x @ self.w)


class ByNumpyFunction(Weighted):
    def call(self, x):
        y = tf.numpy_function(lambda v: np.tanh(v).astype(v.dtype), [x @ self.w], x.dtype)
        return tf.ensure_shape(y, [None, 2])


class ByNumpy(Weighted):
    def call(self, x):
        y = x @ self.w
        return tf.constant(np.tanh(y.numpy())) if hasattr(y, "numpy") else tf.tanh(y)


class Floored(Weighted):
    def call(self, x):
        return tf.floor(4.0 * (x @ self.w)) / 4.0
'''


def config(layer: Any, *methods: Any, **more: Any) -> dict[str, Any]:
    first = {"Dense": {"units": 4, "activation": "tanh", "name": "before"}}
    layers = [first, layer, {"Dense": {"units": 2, "name": "last"}}]
    model = {"input": {"shape": [4]}, "layers": layers}
    return {"model": model, "split": {"after": ["before"]}, "methods": list(methods or ["vjp"]), **more}


def own(name: str, **kwargs: Any) -> dict[str, Any]:
    return {f"./own.py:{name}": {"name": "block", **kwargs}}


def reference_of(report: RunReport) -> CheckReport:
    (found,) = [check for check in report.checks if check.method == "reference"]
    return found


def test_a_mask_that_is_drawn_again_fails_a_default_run_and_is_named(run: Run) -> None:
    report = run(config(own("Block")), {"own.py": CODE})
    assert report.exit_code == 1
    check = reference_of(report)
    assert {"block/dense/kernel", "before/kernel"} <= {row.path for row in check.failures}
    assert [(d.code, d.layer) for d in check.diagnoses] == [("GC303", "block")]
    (vjp,) = [check for check in report.checks if check.method == "vjp"]
    assert vjp.outcome == "match"  # bit for bit: it shares the mistake
    assert (report.reference and report.reference.verified) is None


def test_statistics_that_move_twice_are_named(run: Run) -> None:
    report = run(config(own("Block", inner="norm")), {"own.py": CODE})
    check = reference_of(report)
    assert {row.kind for row in check.failures} == {"state"}
    assert (report.reference and report.reference.verified) is None  # its gradients are right, and it is not
    assert [d.code for d in check.diagnoses] == ["GC302"]
    lines = [line for row in check.failures for line in failure_lines(row, check.sides)]
    assert any(": tape " in line and ", forward pass alone " in line for line in lines), lines


@pytest.mark.parametrize("inner", ["dropout", "norm"])
def test_without_rematerialisation_the_reference_is_verified(run: Run, inner: str) -> None:
    report = run(config(own("Block", inner=inner, remat=False)), {"own.py": CODE})
    assert report.exit_code == 0
    assert report.reference is not None
    assert report.reference.verified is not None
    assert 0 < report.reference.verified < 1e-5


def test_a_trial_that_finds_nothing_is_no_check(run: Run) -> None:
    """State is compared as well, for a custom gradient may run the forward pass again."""
    report = run(config(own("Normed")), {"own.py": CODE})
    assert (report.verdict, [check.method for check in report.checks]) == ("pass", ["vjp"])
    assert report.reference is not None
    assert report.reference.verified is not None


def test_a_wrong_custom_gradient_fails_a_default_run(run: Run) -> None:
    report = run(config(own("Square")), {"own.py": CODE})
    check = reference_of(report)
    assert {row.path for row in check.failures} == {"input", "before/kernel", "before/bias"}
    assert check.diagnoses[-1].code == "GC601"
    assert check.sides == METHODS["numeric"].sides


@pytest.mark.parametrize(("mode", "found"), [("never", False), ("always", True)])
def test_the_trial_can_be_asked_for_and_left_out(run: Run, mode: str, found: bool) -> None:
    report = run(config(own("Square"), verify_reference=mode), {"own.py": CODE})
    assert any(check.method == "reference" for check in report.checks) is found
    assert report.exit_code == int(found)


def test_numeric_is_the_trial_where_it_is_asked_for(run: Run) -> None:
    report = run(config(own("Square"), "vjp", {"numeric": {"expect": "mismatch"}}), {"own.py": CODE})
    assert [check.method for check in report.checks] == ["vjp", "numeric"]
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [("Stopped", "tf.stop_gradient"), ("ByNumpyFunction", "tf.numpy_function"), ("ByNumpy", "")],
)
@pytest.mark.parametrize("methods", [["numeric"], ["vjp"]])
def test_a_gradient_that_is_none_where_the_loss_moves_is_missing(
    run: Run, name: str, says: str, methods: list[str]
) -> None:
    report = run(config(own(name), *methods), {"own.py": CODE})
    assert report.exit_code == 1
    check = report.checks[0]
    missing = {row.path: row.note or "" for row in check.tensors if row.status == "missing"}
    assert {"before/kernel", "before/bias", "block/w"} <= missing.keys()
    assert all("None by the tape" in note for note in missing.values())
    assert says in missing["block/w"]
    assert [d.code for d in check.diagnoses] == ["GC403"]


def test_a_gradient_that_is_none_where_the_loss_stands_still_is_absent(run: Run) -> None:
    report = run(config(own("Floored"), "numeric"), {"own.py": CODE})
    assert report.exit_code == 0
    assert {r.status for r in report.checks[0].tensors if r.path in ("before/kernel", "block/w")} == {"absent"}


def test_what_cannot_be_decided_is_a_note(run: Run) -> None:
    layers = [{"Dense": {"units": 4, "kernel_initializer": "zeros", "activation": "relu", "name": "before"}}]
    model = {"input": {"shape": [4]}, "layers": [*layers, {"Dense": {"units": 2, "name": "last"}}]}
    report = run({"model": model, "split": {"after": ["before"]}})
    assert report.exit_code == 0
    assert report.reference is not None
    assert report.reference.verified is None
    assert any("the reference was not verified" in note for note in report.notes)
