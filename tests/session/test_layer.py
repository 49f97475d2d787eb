"""The modes in which a layer is probed: training on and off, with and without a mask, real and imaginary parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.session.configs import CheckOptions
from gradcheck.session.layer import Target, check_layer, layer_config

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.report import RunReport

CODE = '''
import keras
import tensorflow as tf


def turned(x):
    """x, with the sign of its gradient turned."""
    return tf.custom_gradient(lambda t: (tf.identity(t), lambda dy: -dy))(x)


class WrongInference(keras.layers.Layer):
    def call(self, x, training=None):
        return tf.sin(x if training else turned(x))


class WrongMasked(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, mask=None):
        return tf.sin(x) if mask is None else tf.sin(turned(x)) * tf.cast(mask, x.dtype)[..., None]


class Inside(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = WrongInference()

    def call(self, x):
        return 2.0 * self.inner(x)


def phase(x):
    return tf.complex(tf.cos(x), tf.sin(x))


@tf.custom_gradient
def wrong_phase(x):
    return phase(x), lambda dy: -tf.sin(x) * tf.math.real(dy) - tf.cos(x) * tf.math.imag(dy)


def modulus(z):
    return tf.math.real(z * tf.math.conj(z))


def square(z):
    return z * z


@tf.custom_gradient
def square_right(z):
    return z * z, lambda dy: dy * tf.math.conj(2 * z)


@tf.custom_gradient
def square_wrong(z):
    return z * z, lambda dy: dy * 2 * z


class Rotates(keras.layers.Layer):
    def call(self, z, scale):
        return z * tf.complex(tf.cos(scale), tf.sin(scale))


@tf.recompute_grad
def product(a, b):
    return a * tf.sin(b)


def same_twice(x):
    return product(x, x)


@tf.custom_gradient
def half(a, b):
    return a * tf.sin(b), lambda dy: (dy * tf.sin(b), tf.zeros_like(b))


def same_twice_wrong(x):
    return half(x, x)


@tf.custom_gradient
def cube(x):
    return x**3, lambda dy: dy * (3.0 * tf.numpy_function(lambda v: v * v, [x], x.dtype))


@tf.custom_gradient
def cube_stopped(x):
    return x**3, lambda dy: dy * 3.0 * tf.stop_gradient(x) ** 2


@tf.custom_gradient
def cube_nested(x):
    @tf.custom_gradient
    def slope(z):
        return 3.0 * z**2, lambda d: d * 5.0 * z

    return x**3, lambda dy: dy * slope(x)


@tf.custom_gradient
def cube_right(x):
    return x**3, lambda dy: dy * 3.0 * x**2
'''


@pytest.fixture(autouse=True)
def _code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(CODE, encoding="utf-8")


def checked(name: str, shape: tuple[int, ...] = (3,), **options: Any) -> RunReport:
    given = {"shapes": [shape], "dtypes": [None]} if "values" not in options else {}
    target = Target(name=f"./own.py:{name}", kwargs={}, **given, **options)
    return check_layer(target, layer_config(target), CheckOptions()).run


def failing(report: RunReport) -> set[str]:
    return {check.method for check in report.checks if not check.as_expected}


@pytest.mark.parametrize("name", ["WrongInference", "Inside"])
def test_a_gradient_that_is_wrong_without_training_alone(name: str) -> None:
    report = checked(name, points=["given"], methods=["numeric"])
    assert "numeric[inference]" in failing(report)
    assert "numeric" not in failing(report)
    assert report.exit_code == 1
    assert "numeric[inference]" not in failing(checked(name, points=["given"], methods=["numeric"], training=True))
    assert "numeric" in failing(checked(name, points=["given"], methods=["numeric"], training=False))


def test_a_gradient_that_is_wrong_with_a_mask_alone() -> None:
    report = checked("WrongMasked", (4, 3), points=["given", "zeros"], methods=["numeric"])
    assert failing(report) == {"numeric[masked]", "numeric[zeros, masked]"}
    assert report.exit_code == 1


def test_both_parts_of_a_complex_output_count() -> None:
    assert failing(checked("phase", points=["given"], methods=["numeric"])) == set()
    assert "numeric" in failing(checked("wrong_phase", points=["given"], methods=["numeric"]))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", ["modulus", "square", "square_right"])
def test_a_complex_input(name: str, dtype: str) -> None:
    target = Target(
        name=f"./own.py:{name}", kwargs={}, shapes=[(3,)], dtypes=[dtype], points=["given", "ones"], order=2
    )
    report = check_layer(target, layer_config(target), CheckOptions()).run
    assert report.verdict == "pass"
    (row,) = (t for check in report.checks if check.method == "numeric" for t in check.tensors)
    assert row.path == "x"


def test_a_conjugate_that_is_forgotten() -> None:
    report = checked("square_wrong", values=[[1.0 + 2.0j, 3.0]], methods=["numeric"])
    assert "numeric" in failing(report)
    assert report.exit_code == 1


def test_a_complex_input_beside_a_real_one() -> None:
    target = Target(
        name="./own.py:Rotates", kwargs={}, shapes=[(3,), (3,)], dtypes=["complex64", None], points=["given"]
    )
    report = check_layer(target, layer_config(target), CheckOptions()).run
    assert report.verdict == "pass"
    assert {t.path for check in report.checks for t in check.tensors} == {"x0", "x1"}


def test_the_derivative_of_a_complex_number() -> None:
    target = Target(name="./own.py:modulus", kwargs={}, values=[1.0 + 2.0j])
    (row,) = check_layer(target, layer_config(target), CheckOptions()).derivatives
    assert (row.at, row.value, row.first) == (1 + 2j, 5.0, 2 + 4j)


def test_forward_mode_that_does_not_apply_is_a_note() -> None:
    report = checked("same_twice", points=["given"])
    assert (report.verdict, [check.method for check in report.checks]) == ("pass", ["numeric"])
    assert any(note.startswith("forward does not apply: ") and "recompute_grad" in note for note in report.notes)
    assert checked("same_twice_wrong", points=["given"]).exit_code == 1


@pytest.mark.parametrize(("name", "says"), [("cube", "None"), ("cube_stopped", "None"), ("cube_nested", "10")])
def test_second_order_that_is_lost_or_wrong(name: str, says: str) -> None:
    report = checked(name, values=[2.0], order=2)
    assert failing(report) == {"hvp"}
    (row,) = [row for check in report.checks if check.method == "hvp" for row in check.tensors]
    assert f"the tape says {says}, finite differences 12" in (row.note or "")


def test_second_order_that_is_right() -> None:
    report = checked("cube_right", values=[2.0], order=2)
    assert (report.verdict, failing(report)) == ("pass", set())


def test_forward_mode_proves_nothing_that_differences_leave_open(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import tensorflow as tf\n\n\ndef relu(x):\n    return tf.nn.relu(x)\n")
    report = checked("relu", values=[0.0])
    assert [check.outcome for check in report.checks] == ["inconclusive", "match"]
    assert (report.verdict, report.exit_code) == ("vacuous", 4)
