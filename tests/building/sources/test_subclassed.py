"""Models and layers with a `call` of their own as functional models."""

# ruff: noqa: ARG002 - a `call` takes what Keras gives

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from gradcheck.building.endpoints import input_names, name_outputs, output_names
from gradcheck.building.sources.subclassed import functional, outputs_by_example, with_inputs, wraps_one
from gradcheck.errors import GradcheckError, RunError


@pytest.fixture(autouse=True)
def _session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def tensor(*shape: int | None, dtype: str = "float32") -> Any:
    return keras.KerasTensor((None, *shape), dtype)


class Net(keras.Model):
    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.dense = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.dense(x)


X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def test_the_model_is_one_call_of_the_object_itself() -> None:
    net = Net(name="net")
    model = functional(net, tensor(3), "the model")
    assert (model.name, model.input_shape, model.output_shape) == ("net", (None, 3), (None, 2))
    assert [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)] == [net]
    np.testing.assert_array_equal(model(X), net(X))
    assert {id(v) for v in model.variables} == {id(v) for v in net.dense.variables}


def test_it_may_have_a_name_of_its_own() -> None:
    assert functional(Net(), tensor(3), "the model", name="other").name == "other"


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (tensor(3), ["input"]),
        ([tensor(3), tensor(3)], ["input_0", "input_1"]),
        ({"b": tensor(3), "a": tensor(3)}, ["a", "b"]),
        ({"b": [tensor(3), tensor(3)], "a": {"deep": tensor(3)}}, ["a_deep", "b_0", "b_1"]),
    ],
)
def test_inputs_are_named_by_their_place(inputs: Any, names: list[str]) -> None:
    class Sum(keras.Model):
        def call(self, x: Any) -> Any:
            return sum(keras.tree.flatten(x))

    model = functional(Sum(), inputs, "the model")
    assert list(input_names(model)) == names
    keras.tree.assert_same_structure(model.input, inputs)


class Pair(keras.Model):
    def call(self, first: Any, second: Any, scale: float = 1.0) -> Any:
        return first - scale * second


@pytest.mark.parametrize("inputs", [[tensor(3), tensor(3)], {"second": tensor(3), "first": tensor(3)}])
def test_several_arguments_are_given_by_position_or_by_name(inputs: Any) -> None:
    model = functional(Pair(), inputs, "the model")
    first, second = X, X[::-1]
    given = {"first": first, "second": second} if isinstance(inputs, dict) else [first, second]
    np.testing.assert_array_equal(model(given), first - second)


def test_a_mapping_with_other_names_is_one_argument() -> None:
    class Mapping(keras.Model):
        def call(self, x: Any) -> Any:
            return x["a"] - x["b"]

    model = functional(Mapping(), {"a": tensor(3), "b": tensor(3)}, "the model")
    np.testing.assert_array_equal(model({"a": X, "b": 2 * X}), X - 2 * X)


def test_a_mapping_of_one_that_has_the_name_of_the_argument_is_one_mapping() -> None:
    class One(keras.Model):
        def call(self, x: Any) -> Any:
            return x["x"]

    np.testing.assert_array_equal(functional(One(), {"x": tensor(3)}, "the model")({"x": X}), X)


class Branches(Net):
    """Its outputs cannot be inferred from symbolic tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.drop = layers.Dropout(0.5, seed=1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        if float(tf.reduce_sum(x)) > 1e9:
            return x
        return ops.cast(self.drop(self.norm(self.dense(x), training=True), training=True), "float16")


def test_outputs_are_found_by_an_example_where_code_needs_values() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = functional(Branches(), tensor(3), "the model")
    (output,) = model.outputs
    assert (output.shape, output.dtype) == ((None, 2), "float16")
    assert model(X).shape == (4, 2)


def test_no_variable_moves_while_outputs_are_found() -> None:
    net = Branches()
    net(X)
    before = [v.value.numpy() for v in net.variables]
    (found,) = keras.tree.flatten(outputs_by_example(net, (tensor(3),), {}))
    assert (found.shape, found.dtype) == ((None, 2), "float16")
    for variable, value in zip(net.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_an_axis_of_the_length_of_the_example_stays_if_the_batch_is_known() -> None:
    net = Branches()
    found = outputs_by_example(net, (keras.KerasTensor((3, 3), "float32"),), {})
    assert found.shape == (3, 2)
    assert outputs_by_example(Net(), (tensor(3),), {}).shape == (None, 2)


def test_indices_are_zero_in_an_example_and_floats_one() -> None:
    class Seen(keras.Model):
        def call(self, x: Any) -> Any:
            self.seen = {key: np.asarray(value) for key, value in x.items()}
            return x["f"]

    net = Seen()
    outputs_by_example(net, ({"i": tensor(2, dtype="int32"), "f": tensor(2), "h": tensor(2, dtype="bfloat16")},), {})
    assert {key: (value.shape, float(value.max())) for key, value in net.seen.items()} == {
        "i": ((3, 2), 0.0),
        "f": ((3, 2), 1.0),
        "h": ((3, 2), 1.0),
    }


def test_a_layer_that_must_know_the_length_of_a_batch_is_told_it() -> None:
    class Stateful(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.lstm = layers.BatchNormalization(), layers.LSTM(2, stateful=True)

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.lstm(self.norm(x, training=training))

    model = functional(Stateful(), tensor(5, 3), "the model", batch_size=4)
    assert model.input_shape == (4, 5, 3)
    (wrapped,) = (layer for layer in model.layers if isinstance(layer, Stateful))
    assert all(not np.any(state) for state in wrapped.lstm.states)
    np.testing.assert_array_equal(wrapped.norm.moving_mean, 0.0)


def test_one_that_can_only_be_built_by_values_is_and_no_statistic_moves() -> None:
    class Built(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.norm = layers.BatchNormalization()

        def call(self, x: Any, training: bool | None = None) -> Any:
            if not hasattr(self, "width"):
                self.width = int(np.asarray(x).shape[0])
            return self.norm(x, training=training)

    net = Built()
    functional(net, tensor(3), "the model", batch_size=4)
    np.testing.assert_array_equal(net.norm.moving_mean, 0.0)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_what_the_code_raises_is_an_error_with_its_line_and_the_shapes(batch_size: int | None) -> None:
    class Broken(keras.Model):
        def call(self, x: Any) -> Any:
            raise RuntimeError("not today")

    with pytest.raises(RunError) as caught:
        functional(Broken(), [tensor(3), tensor(None, 2)], "factory ./m.py:build", batch_size=batch_size)
    assert caught.value.code == "GC051"
    assert caught.value.message == (
        "factory ./m.py:build cannot be called: RuntimeError: not today. "
        "Received: tensors of shape (None, 3), (None, None, 2)"
    )
    assert caught.value.location is not None
    assert "not today" in caught.value.location.excerpt


def test_an_error_of_ours_comes_through() -> None:
    class Ours(keras.Model):
        def call(self, x: Any) -> Any:
            raise RunError("as it is", code="GC055")

    with pytest.raises(GradcheckError) as caught:
        functional(Ours(), tensor(3), "the model", batch_size=4)
    assert (caught.value.code, caught.value.message) == ("GC055", "as it is")


def test_a_model_with_inputs_is_taken_as_it_is() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert with_inputs(model, "the model", None) is model
    assert with_inputs(Net(), "the model", tensor(3)).input_shape == (None, 3)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Net, "the model that the factory gives has no symbolic inputs. Received: a Net"),
        (keras.Sequential, "has no input shape yet. Received: a Sequential"),
        (lambda: layers.Dense(2), "the factory must give a keras.Model. Received: a Dense"),
        (lambda: None, "the factory must give a keras.Model. Received: None"),
    ],
)
def test_a_model_of_which_nothing_tells_the_inputs(model: Any, said: str) -> None:
    with pytest.raises(RunError) as caught:
        with_inputs(model(), "the factory", None)
    assert caught.value.code == "GC051"
    assert said in caught.value.message


# Which models are such


def test_a_wrapped_object_is_found_again() -> None:
    net = Net()
    assert wraps_one(functional(net, tensor(3), "the model")) is net


def test_other_models_wrap_nothing() -> None:
    x = keras.Input((3,))
    assert wraps_one(Net()) is None
    assert wraps_one(keras.Model(x, layers.Dense(2, name="d")(x), name="d")) is None, "a layer of Keras"
    assert wraps_one(keras.Model(x, Net(name="net")(x), name="other")) is None, "another name"
    net = Net(name="net")
    assert wraps_one(keras.Model(x, [net(x), x], name="net")) is None, "another output"
    assert wraps_one(keras.Model(x, net(layers.Dense(3)(x)), name="net")) is None, "another call"


def test_outputs_have_the_names_that_they_are_given() -> None:
    class Two(Net):
        def call(self, x: Any) -> Any:
            return [self.dense(x), self.dense(x)]

    model = functional(Two(name="two"), tensor(3), "the model")
    assert output_names(model) == ("two", "two:2")
    name_outputs(model, ["a", "a"])
    assert output_names(model) == ("a", "a:2")
