"""`check_function`: functions, layers and models as objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck import check_function
from gradcheck.errors import ConfigErrors

if TYPE_CHECKING:
    from pathlib import Path


def methods(report: Any) -> list[str]:
    return [check.method for check in report.runs[0].checks]


def wrong(by: float) -> Any:
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def squared(x: Any) -> Any:
        return x * x, lambda dy: by * x * dy

    return squared


def test_a_function_of_a_number_to_the_second_order() -> None:
    report = check_function(lambda x: x**3, 2.0, order=2)
    assert report, report
    assert methods(report) == ["numeric", "forward", "hvp"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_gets_exactly_the_tensors_that_are_given(dtype: str) -> None:
    import tensorflow as tf

    def product(a: Any, b: Any) -> Any:
        assert (tuple(a.shape), tuple(b.shape)) == ((2, 3), (3, 4))
        assert a.dtype.name in (dtype, "float64")
        return tf.matmul(a, b)

    report = check_function(product, np.ones((2, 3), dtype), tf.ones((3, 4), dtype))
    assert report, report
    assert report.runs[0].precision == dtype


def test_structures_integers_and_keyword_arguments() -> None:
    import tensorflow as tf

    def picked(pair: Any, index: Any, *, by: float) -> Any:
        return by * tf.gather(pair["a"] * pair["b"], index)

    pair = {"a": np.arange(4.0), "b": tf.ones(4, tf.float64)}
    assert check_function(picked, pair, np.array([1, 2]), kwargs={"by": 2.0})


@pytest.mark.parametrize(("by", "passes"), [(2.0, True), (2.001, False)])
def test_a_wrong_custom_gradient_fails(by: float, passes: bool) -> None:
    report = check_function(wrong(by), np.array([1.0, 2.0, 3.0]))
    assert bool(report) is passes, report


def test_a_declared_surrogate_is_no_mistake() -> None:
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def rounded(x: Any) -> Any:
        return tf.round(x), lambda dy: dy

    x = np.array([0.3, 1.2])
    assert check_function(rounded, x, surrogate=lambda dy, _: dy)
    assert not check_function(rounded, x, surrogate=lambda dy, _: 2.0 * dy, methods=["numeric"])
    assert not check_function(rounded, x, methods=["numeric"])


def test_points_and_methods_by_name() -> None:
    report = check_function(lambda x: x**2, np.ones(3), methods=["numeric"], points=["zeros", "saturated"])
    assert methods(report) == ["numeric[zeros]", "numeric[saturated]"]
    with pytest.raises(ConfigErrors):
        check_function(lambda x: x**2, np.ones(3), methods=["numric"])


def test_a_layer_is_built_and_called_on_the_batch_in_all_its_modes(keras_: Any) -> None:
    layer = keras_.layers.LSTM(3, dropout=0.2)
    x = np.random.default_rng(0).normal(size=(2, 5, 4))
    report = check_function(layer, x)
    assert report, report
    assert methods(report) == ["numeric", "forward", "numeric[inference]", "numeric[masked]"]
    assert layer.built
    assert layer.name == "lstm"
    assert report.runs[0].coverage.trainable == 3


def test_a_layer_of_a_class_of_this_file_is_copied_to_float64(keras_: Any) -> None:
    class Own(keras_.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self, function: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.function = function
            self.inner = keras_.layers.Dense(2)

        def build(self, shape: Any) -> None:
            self.inner.build(shape)

        def call(self, x: Any) -> Any:
            return self.function(self.inner(x))

        def get_config(self) -> Any:
            return {**super().get_config(), "function": keras_.saving.serialize_keras_object(self.function)}

        @classmethod
        def from_config(cls, config: Any) -> Any:
            return cls(**{**config, "function": keras_.saving.deserialize_keras_object(config["function"])})

    x = np.random.default_rng(0).normal(size=(3, 4))
    right, left = check_function(Own(wrong(2.0)), x), check_function(Own(wrong(2.2)), x)
    assert right, right
    assert methods(right)[0] == "numeric"
    assert not left


def test_a_model_and_a_layer_of_several_inputs(keras_: Any) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert check_function(keras_.layers.Add(), [x, 2 * x])
    model = keras_.Sequential([keras_.layers.Dense(3, activation="tanh"), keras_.layers.Dense(1)])
    report = check_function(model, x)
    assert report, report
    assert report.runs[0].coverage.trainable == 4


def test_what_the_function_raises_is_an_error_of_the_run() -> None:
    def broken(_: Any) -> Any:
        raise ValueError("no such thing")

    report = check_function(broken, 1.0)
    assert not report
    assert "no such thing" in str(report)


def test_an_object_with_a_backward_pass_in_numpy() -> None:
    class Squared:
        def __init__(self, by: float) -> None:
            self.by = by

        def forward(self, x: Any) -> Any:
            self.x = x
            return x**2

        def backward(self, dy: Any) -> Any:
            return self.by * self.x * dy

    x = np.random.default_rng(0).normal(size=(3, 4))
    report = check_function(Squared(2.0), x)
    assert report, report
    assert not check_function(Squared(2.1), x)


def test_a_composite_layer_without_build_in_another_precision(keras_: Any) -> None:
    class Composite(keras_.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.inner = keras_.layers.Dense(2, activation="tanh")

        def call(self, x: Any) -> Any:
            return self.inner(x)

    report = check_function(Composite(), np.ones((3, 4)), precision="float64")
    assert report, report
    assert methods(report)[0] == "numeric"


@pytest.mark.parametrize(("by", "passes"), [(2.0, True), (2.1, False)])
def test_another_implementation_beside_a_function(by: float, passes: bool) -> None:
    report = check_function(lambda x: x * x, np.array([1.0, 2.0]), methods=["forward"], against=wrong(by))
    assert bool(report) is passes, report
    assert methods(report) == ["forward", "against"]


@pytest.mark.parametrize(("by", "passes"), [(2.0, True), (2.1, False)])
def test_a_function_of_another_engine_by_its_name(
    by: float, passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("def double(x, by):\n    return by * x\n", encoding="utf-8")
    against, x = "jax:./own.py:double", np.array([1.0, 2.0])
    report = check_function(lambda x, **_: 2 * x, x, methods=["forward"], against=against, kwargs={"by": by})
    assert bool(report) is passes, report
    assert report.runs[0].checks[-1].sides[1] == "jax:double"


def test_another_layer_gets_the_weights_for_the_check_alone(keras_: Any) -> None:
    one, other = keras_.layers.Dense(2), keras_.layers.EinsumDense("bi,io->bo", output_shape=2, bias_axes="o")
    other.build((None, 4))
    before = [variable.numpy() for variable in other.variables]
    report = check_function(one, np.ones((3, 4)), methods=["forward"], against=[other])
    assert report, report
    assert report.runs[0].checks[-1].sides[:2] == (one.name, other.name)
    assert all(np.array_equal(was, variable.numpy()) for was, variable in zip(before, other.variables, strict=True))
