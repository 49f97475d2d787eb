"""Copies of models: the same values, names and functions, and variables of their own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.building.copies import copies_of, remade, take_values
from gradcheck.building.precision import precision_scope
from gradcheck.errors import NotApplicable

X = np.random.default_rng(0).normal(size=(5, 4))


def model(*layers: Any) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *layers])


def ids(one: keras.Model) -> set[int]:
    return {id(variable) for variable in one.variables}


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_copy_computes_the_same_with_variables_of_its_own(precision: str) -> None:
    original = model(keras.layers.Dense(3, "tanh"), keras.layers.Dropout(0.5), keras.layers.BatchNormalization())
    original(X, training=True)
    with precision_scope(precision):
        (copy,) = copies_of([original])
    assert ids(copy).isdisjoint(ids(original))
    assert [v.path for v in copy.variables] == [v.path for v in original.variables]
    assert copy.dtype == precision
    np.testing.assert_allclose(copy(X), original(X), rtol=1e-5)
    if precision == "float32":  # in float64 other numbers are drawn
        np.testing.assert_allclose(copy(X, training=True), original(X, training=True), rtol=1e-5)


def test_functions_of_one_name_and_lambdas_are_the_very_same() -> None:
    def scaled(by: float) -> Any:
        def function(x: Any) -> Any:
            return by * tf.sin(x)

        return function

    by = tf.constant(3.0)
    layers = [keras.layers.Dense(3, scaled(2.0)), keras.layers.Activation(scaled(5.0))]
    original = model(*layers, keras.layers.Lambda(lambda x: by * tf.cos(x)))
    (copy,) = copies_of([original])
    np.testing.assert_array_equal(copy(X), original(X))
    assert copy.layers[-1].function is original.layers[-1].function
    assert original.layers[0].activation.__name__ == "function"
    assert original.layers[-1].function.__name__ == "<lambda>"


def test_vocabularies_and_statistics_are_copied() -> None:
    words = keras.layers.StringLookup()
    words.adapt([["a", "b", "b"]])
    normal = keras.layers.Normalization()
    normal.adapt(X)
    text = keras.Sequential([keras.Input((2,), dtype="string"), words, keras.layers.Embedding(4, 2)])
    copies = copies_of([text, model(normal, keras.layers.Dense(2))])
    np.testing.assert_array_equal(copies[0](tf.constant([["a", "c"]])), text(tf.constant([["a", "c"]])))
    np.testing.assert_allclose(copies[1].layers[0](X), normal(X), rtol=1e-6)


def test_a_layer_in_two_models_is_one_in_their_copies() -> None:
    shared = keras.layers.Dense(4, name="shared")
    one, two = copies_of([model(shared), model(keras.layers.Dense(4), shared)])
    assert one.layers[0] is two.layers[1]
    assert one.layers[0] is not shared


def test_frozen_layers_stay_frozen_and_nothing_is_compiled() -> None:
    original = model(keras.layers.Dense(3), keras.layers.Dense(2))
    original.layers[0].trainable = False
    original.compile("adam", "mse")
    (copy,) = copies_of([original])
    assert [layer.trainable for layer in copy.layers] == [False, True]
    assert not copy.compiled


def test_a_layer_is_called_before_it_takes_values() -> None:
    class Composite(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.inner = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    original = Composite()
    expected = original(X)
    (copy,) = remade([original])
    copy(X)
    take_values(original, copy)
    np.testing.assert_array_equal(copy(X), expected)


def test_what_keras_cannot_save_says_what_to_write() -> None:
    class Held(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, what: Any) -> None:
            super().__init__()
            self.what = what

        def call(self, x: Any) -> Any:
            return x

    class Object:
        pass

    with pytest.raises(NotApplicable, match="cannot be copied") as error:
        copies_of([model(Held(Object()))])
    assert error.value.code == "GC051"
    assert "give each class of your own a get_config()" in str(error.value)


def test_another_model_is_no_copy() -> None:
    with pytest.raises(NotApplicable, match="makes another model"):
        take_values(model(keras.layers.Dense(3)), model(keras.layers.Dense(4)))
