"""Gradient accumulation in variables beside the weights, with a compiled accumulation step."""

import keras
import numpy as np
import tensorflow as tf


class Accumulator:
    def __init__(self, variables, count):
        self.variables = variables
        self.slots = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]
        self.count = count
        self.seen = 0

    def add(self, gradients):
        for slot, gradient in zip(self.slots, gradients):
            slot.assign_add(gradient / self.count)
        self.seen += 1

    @property
    def full(self):
        return self.seen == self.count

    def flush(self, optimizer):
        optimizer.apply_gradients(zip([slot.value() for slot in self.slots], self.variables))  # expect: GC205
        self.seen = 0


def main():
    keras.utils.set_random_seed(79)
    rng = np.random.default_rng(79)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.03)
    accumulator = Accumulator(model.trainable_variables, count=2)
    bce = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def gradients(x, y):
        with tf.GradientTape() as tape:
            loss = bce(y, model(x, training=True))
        return loss, tape.gradient(loss, model.trainable_variables)

    for step in range(8):
        x = rng.normal(size=(6, 5)).astype("float32")
        y = (x[:, :1] > x[:, 1:2]).astype("float32")
        loss, grads = gradients(tf.constant(x), tf.constant(y))
        accumulator.add(grads)
        if accumulator.full:
            accumulator.flush(optimizer)
            print(f"after {step + 1} batches: loss {loss:.4f}")
    return model, optimizer, accumulator


if __name__ == "__main__":
    model, optimizer, accumulator = main()
