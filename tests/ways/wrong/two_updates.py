"""A training step with one optimizer for an encoder and a head."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers


class OneUpdate(keras.Model):
    def update(self, gradients: list[Any]) -> None:
        self.optimizer.apply(gradients, self.trainable_variables)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            value = self.compute_loss(x, y, self(x, training=True))
        self.update(tape.gradient(value, self.trainable_variables))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}


class TwoUpdates(OneUpdate):
    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        self.optimizer.build(self.trainable_variables)

    def update(self, gradients: list[Any]) -> None:
        ours = len(self.get_layer("encoder").trainable_variables)
        self.optimizer.apply(gradients[:ours], self.trainable_variables[:ours])
        self.optimizer.apply(gradients[ours:], self.trainable_variables[ours:])


def network(kind: type[keras.Model]) -> keras.Model:
    encoder = keras.Sequential([keras.Input((8,)), layers.Dense(12, activation="tanh")], name="encoder")
    x = keras.Input((8,), name="x")
    return kind(x, layers.Dense(2, name="head")(encoder(x)))


def two_updates() -> keras.Model:
    return network(TwoUpdates)


def one_update() -> keras.Model:
    return network(OneUpdate)
