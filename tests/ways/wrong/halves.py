"""A training step that goes through its batch in two halves, to hold the activations of one only."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops


class InHalves(keras.Model):
    """Right: the mean of both halves' gradients."""

    halves = 2
    share = 0.5
    divided_by = 1

    def combined(self, so_far: list[Any] | None, gradients: list[Any]) -> list[Any]:
        return gradients if so_far is None else [a + b for a, b in zip(so_far, gradients, strict=True)]

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        total, gradients, half = 0.0, None, ops.shape(x)[0] // 2
        for x_part, y_part in [(x[:half], y[:half]), (x[half:], y[half:])][: self.halves]:
            with tf.GradientTape() as tape:
                value = self.share * self.compute_loss(x_part, y_part, self(x_part, training=True))
            gradients = self.combined(gradients, tape.gradient(value, self.trainable_variables))
            total += value
        self.optimizer.apply([g / self.divided_by for g in gradients], self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(total)
        return {metric.name: metric.result() for metric in self.metrics}


class Summed(InHalves):
    share = 1.0


class DividedTwice(InHalves):
    divided_by = 2


class LeftOut(InHalves):
    halves = 1


class LastKept(InHalves):
    def combined(self, _so_far: list[Any] | None, gradients: list[Any]) -> list[Any]:
        return gradients


def network(kind: type[keras.Model]) -> keras.Model:
    x = keras.Input((8,), name="x")
    hidden = layers.Dense(12, activation="tanh", name="hidden")(x)
    return kind(x, layers.Dense(2, name="out")(hidden))


def summed() -> keras.Model:
    return network(Summed)


def divided_twice() -> keras.Model:
    return network(DividedTwice)


def left_out() -> keras.Model:
    return network(LeftOut)


def last_kept() -> keras.Model:
    return network(LastKept)


def averaged() -> keras.Model:
    return network(InHalves)
