"""Autoencoder whose code is quantised to a few levels before it is decoded."""

import keras
import numpy as np
import tensorflow as tf

LEVELS = 16


class Quantiser(keras.layers.Layer):
    """Rounds to one of the levels between -1 and 1."""

    def call(self, code):
        index = tf.cast(tf.round((code + 1) / 2 * LEVELS), tf.int32)  # expect: GC102
        return tf.cast(index, tf.float32) / LEVELS * 2 - 1


class Autoencoder(keras.Model):
    def __init__(self, dim, code):
        super().__init__()
        self.enc1 = keras.layers.Dense(8, activation="relu")
        self.enc2 = keras.layers.Dense(code, activation="tanh")
        self.quantise = Quantiser()
        self.dec1 = keras.layers.Dense(8, activation="tanh")
        self.dec2 = keras.layers.Dense(dim)

    def call(self, x):
        code = self.quantise(self.enc2(self.enc1(x)))
        return self.dec2(self.dec1(code))


def main():
    keras.utils.set_random_seed(31)
    rng = np.random.default_rng(31)
    basis = rng.normal(size=(3, 7))
    data = (rng.normal(size=(48, 3)) @ basis / 2).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(8)

    model = Autoencoder(dim=7, code=4)
    model(data[:1])
    optimizer = keras.optimizers.Adam(0.02)
    for step, batch in enumerate(dataset):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(batch) - batch))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        print(f"step {step} reconstruction {loss:.4f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()
