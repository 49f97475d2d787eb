"""A residual block that computes its branch once more in the backward pass, as a layer of its own."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


@keras.saving.register_keras_serializable("wrong")
class Rematerialised(layers.Layer):
    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.dense = layers.Dense(shape[-1], activation="tanh", name="dense")
        self.dense.build(shape)
        self.dropout = layers.Dropout(self.rate, seed=5, name="dropout")

    def call(self, x: Any, training: bool | None = None) -> Any:
        def branch(inputs: Any) -> Any:
            return self.dropout(self.dense(inputs), training=training)

        return x + keras.remat(branch)(x)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rate": self.rate}


def network(rate: float) -> keras.Model:
    x = keras.Input((8,), name="x")
    hidden = Rematerialised(rate, name="block")(x)
    return keras.Model(x, layers.Dense(2, name="out")(hidden))


def with_dropout() -> keras.Model:
    return network(0.4)


def without_dropout() -> keras.Model:
    return network(0.0)
