"""A training step in mixed precision, which has to scale the loss itself."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers


class Scaled(keras.Model):
    def scaled(self, value: Any) -> Any:
        return self.optimizer.scale_loss(value)

    def update(self, gradients: Any) -> None:
        self.optimizer.apply(gradients, self.trainable_variables)  # which divides by the scale

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            value = self.compute_loss(x, y, self(x, training=True))
            scaled = self.scaled(value)
        self.update(tape.gradient(scaled, self.trainable_variables))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}


class NotScaled(Scaled):
    def scaled(self, value: Any) -> Any:
        return value


class NotUndone(Scaled):
    def update(self, gradients: Any) -> None:
        self.optimizer.inner_optimizer.apply(gradients, self.trainable_variables)


def network(kind: type[keras.Model]) -> keras.Model:
    x = keras.Input((8,), name="x")
    hidden = layers.Dense(12, activation="tanh", name="hidden")(x)
    return kind(x, layers.Dense(2, dtype="float32", name="out")(hidden))


def not_scaled() -> keras.Model:
    return network(NotScaled)


def not_undone() -> keras.Model:
    return network(NotUndone)


def scaled_and_undone() -> keras.Model:
    return network(Scaled)
