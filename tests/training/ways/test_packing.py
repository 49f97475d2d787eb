"""Objects that go to another process with what they need of this one."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from gradcheck.building.sources.live import Lent
from gradcheck.errors import NotApplicable
from gradcheck.training.ways.packing import packed, unpacked


class Scaled(keras.layers.Layer):
    """A class that is registered nowhere."""

    def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor * x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class WithoutConfig(keras.layers.Layer):
    def __init__(self, factor: Any) -> None:
        super().__init__()
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor * x


def cubed(x: Any) -> Any:
    return x**3


def absolute(y: Any, outputs: Any) -> Any:
    return ops.mean(ops.abs(y - outputs), axis=-1)


class Margin(keras.losses.Loss):
    def __init__(self, between: Any) -> None:
        super().__init__(reduction="sum")
        self.between = between

    def call(self, y: Any, outputs: Any) -> Any:
        return self.between(y, outputs)


def model_of(*layers: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), *layers])


X = np.arange(12, dtype="float32").reshape(4, 3) / 12


def sent(model: keras.Model) -> keras.Model:
    lent = unpacked(packed(Lent(objects=[model], precision="float32")))
    other = lent.take(0)
    lent.settle(0)
    assert other is not model
    return other


@pytest.mark.parametrize(
    "layers",
    [
        (keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)),
        (Scaled(3.0),),
        (keras.layers.Activation(cubed),),
        (keras.layers.Lambda(lambda x: 2.0 * x + 1.0),),
        (Scaled(4.0), keras.layers.Dense(1, activation=cubed)),
    ],
    ids=["of Keras", "a class", "a function", "a lambda", "both"],
)
def test_a_model_and_what_it_needs(layers: tuple[keras.layers.Layer, ...]) -> None:
    model = model_of(*layers)
    other = sent(model)
    np.testing.assert_array_equal(model(X), other(X))
    assert [type(layer).__name__ for layer in other.layers] == [type(layer).__name__ for layer in model.layers]


def test_the_values_are_those_of_now() -> None:
    model = model_of(Scaled())
    before = np.asarray(model(X))
    for weight in model.weights:
        weight.assign(weight + 1.0)
    assert not np.allclose(sent(model)(X), before)
    np.testing.assert_array_equal(sent(model)(X), model(X))


@pytest.mark.parametrize(
    "loss",
    [keras.losses.Huber(delta=0.3), keras.losses.MeanSquaredError(reduction="sum"), absolute],
    ids=["Huber", "a sum", "a function"],
)
def test_losses(loss: Any) -> None:
    other = unpacked(packed({"loss": loss}))["loss"]
    y, outputs = X, X**2
    np.testing.assert_array_equal(other(y, outputs), loss(y, outputs))
    assert getattr(other, "reduction", None) == getattr(loss, "reduction", None)


def test_a_loss_with_a_function_of_its_own() -> None:
    """Keras makes a loss again by its config, which has no functions, and by its class's name."""
    other = unpacked(packed(Margin(lambda y, outputs: absolute(y, outputs) + 1.0)))
    assert float(other(X, X**2)) == pytest.approx(float(np.sum(np.mean(np.abs(X - X**2), axis=-1) + 1.0)))


def test_methods_go_with_their_objects() -> None:
    bound = keras.losses.Huber(delta=0.3).call
    np.testing.assert_allclose(unpacked(packed(bound))(X, X**2), bound(X, X**2))


def test_what_cannot_be_pickled() -> None:
    lock = threading.Lock()
    with pytest.raises(NotApplicable, match="it cannot be handed to another process: TypeError: cannot pickle"):
        packed({"loss": lambda y, outputs: (lock, y - outputs)})


def test_a_model_that_cannot_be_made_again() -> None:
    lent = Lent(objects=[model_of(WithoutConfig(2.0 * np.ones(2)))], precision="float32")
    with pytest.raises(NotApplicable, match=r"cannot be (handed to|built again in) another process"):
        unpacked(packed(lent)).take(0)
