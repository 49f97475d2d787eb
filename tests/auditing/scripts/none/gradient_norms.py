"""Measures how the norm of the gradient spreads over batches; nothing is trained."""

import keras
import numpy as np
import tensorflow as tf


def gradient_norm(model, x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x) - y))
    return tf.linalg.global_norm(tape.gradient(loss, model.trainable_variables))


def main():
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(2)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    norms = []
    for _ in range(5):
        x = rng.normal(size=(8, 4)).astype("float32")
        norms.append(float(gradient_norm(model, x, np.sin(x[:, :1]))))
    print(f"norms between {min(norms):.3f} and {max(norms):.3f}")
    return model, norms


if __name__ == "__main__":
    model, norms = main()
