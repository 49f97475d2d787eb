"""Three pipeline stages, each of which knows only how to go forward and backward."""

from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Stage:
    """Keeps the tape of its last forward pass until the cotangent comes back."""

    def __init__(self, name, net):
        self.name = name
        self.net = net
        self._tape = None
        self._inputs = None
        self._outputs = None
        self.grads = None

    def forward(self, inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = self.net(inputs, training=True)
        self._tape, self._inputs, self._outputs = tape, inputs, outputs
        return outputs

    def backward(self, cotangent):
        sources = [self._inputs, *self.net.trainable_variables]
        d_inputs, *self.grads = self._tape.gradient(self._outputs, sources, output_gradients=cotangent)
        self._tape = None
        return d_inputs


class Pipeline:
    def __init__(self, stages, loss_fn, optimizer):
        self.stages = stages
        self.loss_fn = loss_fn
        self.optimizer = optimizer

    @property
    def trainable_variables(self):
        return [v for stage in self.stages for v in stage.net.trainable_variables]

    def train_step(self, x, y):
        h = x
        for stage in self.stages:
            h = stage.forward(h)
        with tf.GradientTape() as tape:
            tape.watch(h)
            loss = self.loss_fn(y, h)
        cotangent = tape.gradient(loss, h)
        for stage in reversed(self.stages):
            cotangent = stage.backward(cotangent)
        grads = [g for stage in self.stages for g in stage.grads]
        self.optimizer.apply(grads, self.trainable_variables)
        return loss


@dataclass
class History:
    losses: list = field(default_factory=list)

    def log(self, step, loss):
        self.losses.append(float(loss))
        print(f"[{step:02d}] {self.losses[-1]:.5f}")


def build():
    conv = keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, padding="same", activation="gelu"),
            layers.Conv2D(6, 3, strides=2, padding="same", activation="gelu"),
        ],
        name="conv",
    )
    middle = keras.Sequential(
        [layers.Input((3, 3, 6)), layers.Flatten(), layers.Dense(12, activation="tanh"), layers.Dropout(0.2)],
        name="middle",
    )
    head = keras.Sequential([layers.Input((12,)), layers.Dense(4)], name="head")
    stages = [Stage(net.name, net) for net in (conv, middle, head)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Pipeline(stages, loss, keras.optimizers.SGD(0.05, momentum=0.9))


def main():
    keras.utils.set_random_seed(1234)
    rng = np.random.default_rng(5)
    pipeline, history = build(), History()
    for step in range(4):
        images = tf.constant(rng.normal(size=(8, 6, 6, 1)), tf.float32)
        digits = tf.constant(rng.integers(0, 4, 8))
        history.log(step, pipeline.train_step(images, digits))
    return pipeline


if __name__ == "__main__":
    pipeline = main()
