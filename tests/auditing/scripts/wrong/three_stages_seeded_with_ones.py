"""A pipeline of three stages in one process, each with its tape and its optimizer."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


class Stage:
    """A part of the network that only knows its neighbours."""

    def __init__(self, name: str, units: int, activation: str | None):
        self.name = name
        self.layer = keras.layers.Dense(units, activation=activation, name=name)
        self.optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
        self.tape: tf.GradientTape | None = None
        self.received: tf.Tensor | None = None
        self.sent: tf.Tensor | None = None

    def forward(self, x: tf.Tensor) -> tf.Tensor:
        self.received = tf.identity(x)
        with tf.GradientTape() as self.tape:
            self.tape.watch(self.received)
            self.sent = self.layer(self.received)
        return self.sent

    def backward(self, upstream: tf.Tensor) -> tf.Tensor:
        """Updates this stage and returns the gradient for the one before."""
        if upstream.shape != self.sent.shape:
            raise ValueError(f"{self.name}: {upstream.shape} came back for {self.sent.shape}")
        sources = [self.received, *self.layer.trainable_variables]
        downstream, *grads = self.tape.gradient(self.sent, sources)  # expect: GC101
        self.optimizer.apply_gradients(zip(grads, self.layer.trainable_variables))
        return downstream


class LastStage(Stage):
    """Ends in the loss."""

    def train(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self.received = tf.identity(x)
        with tf.GradientTape() as tape:
            tape.watch(self.received)
            prediction = self.layer(self.received)
            loss = tf.reduce_mean(tf.square(prediction - y))
        downstream, *grads = tape.gradient(loss, [self.received, *self.layer.trainable_variables])
        self.optimizer.apply_gradients(zip(grads, self.layer.trainable_variables))
        return loss, downstream


class Pipeline:
    def __init__(self) -> None:
        self.stages = [Stage("bottom", 6, "tanh"), Stage("middle", 5, "tanh")]
        self.last = LastStage("top", 2, None)

    def train_step(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        for stage in self.stages:
            x = stage.forward(x)
        loss, gradient = self.last.train(x, y)
        for stage in reversed(self.stages):
            gradient = stage.backward(gradient)
        return loss


def batches(steps: int, seed: int = 5):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(4, 2))
    for _ in range(steps):
        x = rng.normal(size=(6, 4))
        yield tf.constant(x, tf.float32), tf.constant(np.sin(x @ mixing), tf.float32)


def main() -> Pipeline:
    keras.utils.set_random_seed(5)
    pipeline = Pipeline()
    for step, (x, y) in enumerate(batches(6)):
        loss = pipeline.train_step(x, y)
        if step % 2 == 0:
            print(f"step {step:2d}  mse {loss.numpy():.5f}")
    return pipeline


if __name__ == "__main__":
    pipeline = main()
