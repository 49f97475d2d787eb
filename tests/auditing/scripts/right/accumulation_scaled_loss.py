"""Gradient accumulation into variables: every micro-batch's loss is divided by k, the gradients are summed."""

import keras
import numpy as np
import tensorflow as tf


class GradientAccumulator:
    def __init__(self, variables):
        self.slots = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]

    def add(self, gradients):
        for slot, gradient in zip(self.slots, gradients):
            slot.assign_add(gradient)

    def reset(self):
        for slot in self.slots:
            slot.assign(tf.zeros_like(slot))


class Trainer:
    def __init__(self, model, k):
        self.model = model
        self.k = k
        self.optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
        self.accumulator = GradientAccumulator(model.trainable_variables)

    def micro_step(self, x, y):
        with tf.GradientTape() as tape:
            prediction = self.model(x, training=True)
            loss = tf.reduce_mean(tf.square(y - prediction)) / self.k
        self.accumulator.add(tape.gradient(loss, self.model.trainable_variables))
        return loss

    def step(self, x, y):
        total = 0.0
        for xb, yb in zip(tf.split(x, self.k), tf.split(y, self.k)):
            total += self.micro_step(xb, yb)
        self.optimizer.apply_gradients(zip(self.accumulator.slots, self.model.trainable_variables))
        self.accumulator.reset()
        return total


def batches(n, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        x = rng.normal(size=(12, 7)).astype(np.float32)
        y = np.stack([x.sum(axis=1) * 0.4, np.sin(x[:, 0])], axis=1).astype(np.float32)
        yield tf.constant(x), tf.constant(y)


if __name__ == "__main__":
    keras.utils.set_random_seed(404)
    network = keras.Sequential(
        [
            keras.Input((7,)),
            keras.layers.Dense(14, activation="elu"),
            keras.layers.Dense(14, activation="elu"),
            keras.layers.Dense(2),
        ]
    )
    trainer = Trainer(network, k=3)
    for number, (x, y) in enumerate(batches(4)):
        print(number, round(float(trainer.step(x, y)), 5))
