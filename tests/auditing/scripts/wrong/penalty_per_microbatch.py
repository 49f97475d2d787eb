"""Gradient accumulation for a model with a weight penalty."""

import keras
import numpy as np
import tensorflow as tf

MICRO_BATCHES = 4


class Regressor(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(8, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.05))
        self.out = keras.layers.Dense(1, kernel_regularizer="l2")

    def call(self, x):
        return self.out(self.hidden(x))


def split(tensor):
    return tf.split(tensor, MICRO_BATCHES)


def train_step(model, optimizer, x, y):
    mse = keras.losses.MeanSquaredError()
    total = None
    for x_part, y_part in zip(split(x), split(y)):
        with tf.GradientTape() as tape:
            error = mse(y_part, model(x_part, training=True)) / MICRO_BATCHES
            grads = tape.gradient(error + sum(model.losses), model.trainable_variables)  # expect: GC502
        total = grads if total is None else [t + g for t, g in zip(total, grads)]
    optimizer.apply(total, model.trainable_variables)
    return float(mse(y, model(x)))


def main():
    keras.utils.set_random_seed(137)
    rng = np.random.default_rng(137)
    model, optimizer = Regressor(), keras.optimizers.SGD(0.1)
    model(np.zeros((1, 5), "float32"))
    for step in range(4):
        x = rng.normal(size=(8, 5)).astype("float32")
        y = x[:, :1] - np.sin(2 * x[:, 1:2])
        print(f"step {step}: error afterwards {train_step(model, optimizer, x, y):.4f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()
