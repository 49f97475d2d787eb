"""A layer that divides by the number of examples: by the one that Python sees, or by the one of the batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("wrong")
class ByBatch(layers.Layer):
    def call(self, x: Any) -> Any:
        return x / ops.cast(ops.shape(x)[0], x.dtype)


@keras.saving.register_keras_serializable("wrong")
class ByStaticBatch(layers.Layer):
    def call(self, x: Any) -> Any:
        return x / (x.shape[0] or 1)  # None where a compiled function takes batches of any size


def network(kind: type[layers.Layer]) -> keras.Model:
    x = keras.Input((8,), name="x")
    hidden = layers.Dense(12, activation="tanh", name="hidden")(x)
    return keras.Model(x, layers.Dense(2, name="out")(kind(name="share")(hidden)))


def by_static_batch() -> keras.Model:
    return network(ByStaticBatch)


def by_batch() -> keras.Model:
    return network(ByBatch)
