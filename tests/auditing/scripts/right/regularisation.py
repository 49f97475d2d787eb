"""Weight penalties and an activity penalty, added from model.losses."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, regularizers


class SparseCode(layers.Layer):
    """Penalises mean activations away from a target."""

    def __init__(self, target, strength):
        super().__init__()
        self.target, self.strength = target, strength

    def call(self, x):
        mean = tf.reduce_mean(tf.sigmoid(x), axis=0)
        self.add_loss(self.strength * tf.reduce_sum(tf.square(mean - self.target)))
        return x


def make():
    inputs = keras.Input((9,))
    x = layers.Dense(14, activation="relu", kernel_regularizer=regularizers.L2(0.02))(inputs)
    x = layers.Dense(6, kernel_regularizer=regularizers.L1L2(0.005, 0.01))(x)
    x = SparseCode(0.2, 0.5)(x)
    x = layers.Dense(9, activity_regularizer=regularizers.L2(0.01))(x)
    return keras.Model(inputs, x)


def main():
    keras.utils.set_random_seed(29)
    rng = np.random.default_rng(30)
    model = make()
    optimizer = keras.optimizers.Adam(0.01)
    for step in range(4):
        x = tf.constant(rng.normal(size=(8, 9)), tf.float32)
        with tf.GradientTape() as tape:
            reconstruction = model(x, training=True)
            data_loss = tf.reduce_mean(tf.square(x - reconstruction))
            penalty = tf.add_n(model.losses)
            loss = data_loss + penalty
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        print(f"step {step}: data {data_loss:.4f} penalty {penalty:.4f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()
