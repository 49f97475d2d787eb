"""A training step that adds up its own loss, for a model whose layers have penalties."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops


class Penalised(keras.Model):
    def total(self, y: Any, outputs: Any) -> Any:
        return ops.mean(ops.square(y - outputs)) + ops.sum(self.losses)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            value = self.total(y, self(x, training=True))
        gradients = tape.gradient(value, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}


class Forgotten(Penalised):
    def total(self, y: Any, outputs: Any) -> Any:
        return ops.mean(ops.square(y - outputs))


class CountedTwice(Penalised):
    def total(self, y: Any, outputs: Any) -> Any:
        return self.compute_loss(None, y, outputs) + ops.sum(self.losses)  # which `compute_loss` has added already


def network(kind: type[keras.Model]) -> keras.Model:
    x = keras.Input((8,), name="x")
    hidden = layers.Dense(12, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.05), name="hidden")(x)
    return kind(x, layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.05), name="out")(hidden))


def forgotten() -> keras.Model:
    return network(Forgotten)


def counted_twice() -> keras.Model:
    return network(CountedTwice)


def counted_once() -> keras.Model:
    return network(Penalised)
