"""Calls of a function in an engine's process: gradients of any order, in a graph too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.errors import RunError
from gradcheck.methods.by_engine import asked_function
from gradcheck.methods.by_engine.asked_function import EngineFunction, is_of_engine, new_run

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import os
import time


def power(x, n=3):
    return x**n


def first(x, y):
    return x * 1.0


def complex_square(z):
    return z * z


def late(x):
    from beside_it import factor

    return factor * x


def ends(x):
    os._exit(3)


def sleeps(x):
    time.sleep(60)
"""


@pytest.fixture
def function(tmp_path: Path) -> Any:
    pytest.importorskip("jax")
    (tmp_path / "own.py").write_text(CODE, encoding="utf-8")
    return lambda name, engine="jax", **kwargs: EngineFunction(f"{engine}:./own.py:{name}", tmp_path, kwargs, new_run())


@pytest.mark.parametrize("engine", ["jax", pytest.param("torch", marks=pytest.mark.on_request)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_of_every_order(function: Any, engine: str, dtype: str) -> None:
    pytest.importorskip(engine)
    power, x = function("power", engine, n=4), tf.constant([0.1, -1.3], dtype)
    with tf.GradientTape() as third, tf.GradientTape() as second, tf.GradientTape() as first:
        for tape in (third, second, first):
            tape.watch(x)
        y = power(x)
        one = first.gradient(y, x)
        two = second.gradient(one, x)
    three = third.gradient(two, x)
    eps = 10 * np.finfo(dtype).eps
    for found, right in zip((y, one, two, three), (x**4, 4 * x**3, 12 * x**2, 24 * x), strict=True):
        assert found.dtype == dtype
        assert np.allclose(found, right, rtol=eps)


def test_in_a_graph(function: Any) -> None:
    power, x = function("power"), tf.constant([2.0, 3.0])

    @tf.function
    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = power(x)
        return y, tape.gradient(y, x)

    y, dx = gradient(x)
    assert np.allclose(y, [8.0, 27.0])
    assert np.allclose(dx, [12.0, 27.0])


@pytest.mark.parametrize("engine", ["jax", pytest.param("torch", marks=pytest.mark.on_request)])
def test_complex_gradients_are_those_of_tensorflow(function: Any, engine: str) -> None:
    pytest.importorskip(engine)
    square, z = function("complex_square", engine), tf.constant([1 + 2j, -0.5j], tf.complex64)
    found = []
    for of in (square, lambda z: z * z):
        with tf.GradientTape() as outer, tf.GradientTape() as tape:
            outer.watch(z)
            tape.watch(z)
            target = tf.reduce_sum(tf.math.real(of(z)) * [2.0, 3.0])
            gradient = tape.gradient(target, z)
        found.append((gradient, outer.gradient(gradient, z)))
    assert np.allclose(*(of[0] for of in found))
    assert np.allclose(*(of[1] for of in found))


@pytest.mark.on_request
def test_an_input_that_pytorch_does_not_use_has_no_gradient(function: Any) -> None:
    pytest.importorskip("torch")
    x, y = tf.constant(1.0), tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        target = function("first", "torch")(x, y)
    assert tape.gradient(target, [x, y])[1] is None


def test_a_file_is_imported_once_in_a_run_and_anew_in_the_next(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    code = "from pathlib import Path\nwith Path({!r}).open('a') as f: f.write('x')\ndef f(x): return {} * x\n"
    count = tmp_path / "count"
    run = new_run()
    for factor, same in ((2.0, True), (3.0, False)):
        (tmp_path / "edited.py").write_text(code.format(str(count), factor), encoding="utf-8")
        for _ in range(2):
            found = EngineFunction("jax:./edited.py:f", tmp_path, {}, run if same else f"{run}-2")(tf.constant(1.0))
            assert float(found) == factor
    assert count.read_text(encoding="utf-8") == "xx"


def test_modules_beside_the_file_are_found_late_too(function: Any, tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("factor = 5.0", encoding="utf-8")
    assert float(function("late")(tf.constant(2.0))) == 10.0


def test_a_crash_names_the_function(function: Any) -> None:
    with pytest.raises(RunError, match=r"exit code 3, at the stage: running jax:\./own\.py:ends") as ended:
        function("ends")(tf.constant(1.0))
    assert ended.value.code == "GC060"


@pytest.mark.on_request
def test_a_deadline(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_function, "SECONDS", 0.5)
    with pytest.raises(RunError, match=r"0\.5 seconds, at the stage: running jax:\./own\.py:sleeps") as late:
        function("sleeps")(tf.constant(1.0))
    assert (late.value.code, "--timeout" in (late.value.help or "")) == ("GC057", False)


def test_which_targets_are_of_an_engine() -> None:
    assert is_of_engine("jax:./f.py:f")
    assert is_of_engine("torch:package.module:f")
    assert not any(map(is_of_engine, ("jax", "torch", "jax.numpy:sin", "./jax.py:f", "Dense", len)))
