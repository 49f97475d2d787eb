"""`forward`: JVPs agree with the tape, and what has none is an error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.results.report import PROVEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

OWN = """
    import keras
    import tensorflow as tf

    class Detached(keras.layers.Layer):
        def call(self, x):
            return tf.stop_gradient(x)

    class Draws(keras.layers.Layer):
        def call(self, x):
            return x * tf.random.normal(tf.shape(x), dtype=x.dtype)
"""


def config(layers: list[Any], shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"model": {"input": {"shape": shape or [4]}, "layers": layers}, "methods": ["forward"], **more}


def checked(report: RunReport) -> CheckReport:
    (check,) = report.checks
    assert check.error is None, check.error
    return check


CHAINS: dict[str, tuple[list[Any], list[int]]] = {
    "dense": ([{"Dense": {"units": 3, "activation": "tanh"}}, {"Dense": 2}], [4]),
    "convolution": ([{"Conv2D": {"filters": 2, "kernel_size": 2}}, "MaxPooling2D", "Flatten", {"Dense": 1}], [5, 5, 2]),
    "batch norm": (
        [{"Conv2D": {"filters": 2, "kernel_size": 2, "name": "conv"}}, {"BatchNormalization": {}}],
        [5, 5, 2],
    ),
    "dropout": ([{"Dense": 6}, {"Dropout": 0.5}, {"Dense": 2}], [4]),
    "recurrent": ([{"LSTM": {"units": 3, "return_sequences": True}}, {"GRU": 2}], [5, 3]),
    "own random numbers": ([{"Dense": 6}, "./own.py:Draws"], [4]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_forward_mode_agrees_with_the_tape(run: Run, name: str) -> None:
    layers, shape = CHAINS[name]
    report = run(config(layers, shape), {"own.py": OWN})
    check = checked(report)
    assert (report.verdict, check.outcome) == ("pass", "match"), [(t.path, t.max_rel_error) for t in check.failures]
    assert {tensor.status for tensor in check.tensors} <= PROVEN
    assert {tensor.kind for tensor in check.tensors} == {"weight", "input"}


def test_rounding_is_excused_by_a_floor_of_its_own(run: Run) -> None:
    layers, shape = CHAINS["batch norm"]
    tensors = {tensor.path: tensor for tensor in checked(run(config(layers, shape))).tensors}
    assert tensors["conv/bias"].status == "close"  # zero but for rounding
    assert tensors["conv/bias"].noise_floor is not None
    assert tensors["conv/kernel"].noise_floor is None
    off = checked(run(config(layers, shape, tolerance={"noise": "off"})))
    assert [tensor.path for tensor in off.failures] == ["conv/bias"]


@pytest.mark.parametrize("precision", ["float64", "float16", "mixed_bfloat16"])
def test_every_precision(run: Run, precision: str) -> None:
    assert run(config(CHAINS["dense"][0], precision=precision)).verdict == "pass"


def test_an_embedding_and_its_integer_input(run: Run) -> None:
    layers = [{"Embedding": {"input_dim": 7, "output_dim": 3, "name": "embed"}}, "Flatten", {"Dense": 2}]
    model = {"input": {"shape": [4], "dtype": "int32"}, "layers": layers}
    tensors = {t.path: t.status for t in checked(run({"model": model, "methods": ["forward"]})).tensors}
    assert tensors["input"] == "absent"
    assert tensors["embed/embeddings"] in PROVEN


def test_a_weight_behind_a_stopped_gradient_is_absent(run: Run) -> None:
    layers = [{"Dense": {"units": 3, "name": "before"}}, "./own.py:Detached", {"Dense": {"units": 2, "name": "after"}}]
    report = run({**config(layers), "verify_reference": "never"}, {"own.py": OWN})
    tensors = {t.path: t.status for t in checked(report).tensors}
    assert tensors["before/kernel"] == "absent"
    assert tensors["after/kernel"] in PROVEN


def test_none_where_the_tape_has_a_gradient_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.autodiff.ForwardAccumulator, "jvp", lambda *_: None)
    report = run(config([{"Dense": {"units": 4, "name": "first"}}]))
    (check,) = report.checks
    assert (report.exit_code, check.outcome) == (3, "error")
    assert check.error is not None
    assert check.error.code == "GC055"
    assert "weight first/kernel is None" in check.error.message


def test_an_operation_without_forward_mode_is_named(run: Run) -> None:
    resized = {"Resizing": {"height": 5, "width": 5, "interpolation": "bicubic"}}
    report = run(config([{"Conv2D": {"filters": 2, "kernel_size": 2}}, resized], [4, 4, 1]))
    assert report.exit_code == 3
    assert report.error is not None
    assert "ResizeBicubicGrad" in report.error.message


def test_a_split_does_not_matter(run: Run) -> None:
    layers = [{"Dense": {"units": 3, "name": "first"}}, {"Dense": {"units": 2, "name": "second"}}]
    assert run(config(layers, split={"after": ["first"]}, execution="graph")).verdict == "pass"


def test_a_mismatch_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = sys.modules["gradcheck.methods.directional.forward"]  # the package has the function by that name
    right = forward._jvp
    monkeypatch.setattr(forward, "_jvp", lambda *given: 1.001 * right(*given))
    report = run(config(CHAINS["dense"][0]))
    assert report.exit_code == 1
    assert {tensor.status for tensor in report.checks[0].tensors} == {"mismatch"}
