"""Gradient accumulation: a batch that would not fit is taken in four pieces."""

import keras
import numpy as np
import tensorflow as tf

PIECES = 4


def build_model():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(10, activation="tanh"), keras.layers.Dense(1)])


def accumulate(model, loss_fn, x, y):
    """Gradients and loss of a whole batch, piece by piece."""
    total, losses = None, []
    for part_x, part_y in zip(np.split(x, PIECES), np.split(y, PIECES)):
        with tf.GradientTape() as tape:
            loss = loss_fn(part_y, model(part_x, training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        total = grads if total is None else [a + g for a, g in zip(total, grads)]
        losses.append(float(loss))
    return total, np.mean(losses)


def main():
    keras.utils.set_random_seed(61)
    rng = np.random.default_rng(61)
    model = build_model()
    optimizer = keras.optimizers.SGD(learning_rate=0.02)
    mse = keras.losses.MeanSquaredError()
    for step in range(4):
        x = rng.normal(size=(8, 6)).astype("float32")
        y = np.sin(x.sum(axis=1, keepdims=True))
        grads, loss = accumulate(model, mse, x, y)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))  # expect: GC201
        print(f"step {step}: loss {loss:.4f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()
