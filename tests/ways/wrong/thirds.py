"""A training step over three parts of its batch, and one that applies its gradients a step late."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers


class InThirds(keras.Model):
    """Right: each third once."""

    parts: tuple[int, ...] = (0, 1, 2)

    def handed_over(self, gradients: list[Any]) -> list[Any]:
        return gradients

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        third, total, gradients = tf.shape(x)[0] // 3, 0.0, [tf.zeros(v.shape) for v in self.trainable_variables]
        for part in self.parts:
            rows = slice(part * third, (part + 1) * third)
            with tf.GradientTape() as tape:
                value = self.compute_loss(x[rows], y[rows], self(x[rows], training=True)) / 3
            found = tape.gradient(value, self.trainable_variables)
            gradients = [a + b for a, b in zip(gradients, found, strict=True)]
            total += value
        self.optimizer.apply(self.handed_over(gradients), self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(total)
        return {metric.name: metric.result() for metric in self.metrics}


class WithoutTheFirst(InThirds):
    parts = (1, 2)


class TheMiddleTwice(InThirds):
    parts = (0, 1, 1, 2)


class AStepLate(InThirds):
    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        self.kept = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in self.trainable_variables]

    def handed_over(self, gradients: list[Any]) -> list[Any]:
        late = [tf.identity(kept) for kept in self.kept]
        for kept, gradient in zip(self.kept, gradients, strict=True):
            kept.assign(gradient)
        return late


def _net(cls: type[keras.Model]) -> keras.Model:
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="tanh", name="hidden")(inputs)
    return cls(inputs, layers.Dense(2, name="out")(hidden))


def right_factory() -> keras.Model:
    return _net(InThirds)


def without_the_first() -> keras.Model:
    return _net(WithoutTheFirst)


def the_middle_twice() -> keras.Model:
    return _net(TheMiddleTwice)


def a_step_late() -> keras.Model:
    return _net(AStepLate)
