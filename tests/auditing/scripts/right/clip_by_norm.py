"""Regression with every variable's gradient clipped by its own norm."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class ResidualMLP(keras.Model):
    def __init__(self, width, blocks):
        super().__init__()
        self.stem = layers.Dense(width)
        self.blocks = [layers.Dense(width, activation="gelu") for _ in range(blocks)]
        self.norms = [layers.LayerNormalization() for _ in range(blocks)]
        self.out = layers.Dense(1)

    def call(self, x):
        x = self.stem(x)
        for norm, block in zip(self.norms, self.blocks):
            x = x + block(norm(x))
        return self.out(x)


def main(steps=4, clip=0.3):
    keras.utils.set_random_seed(8)
    rng = np.random.default_rng(80)
    net = ResidualMLP(10, 2)
    opt = keras.optimizers.SGD(0.1)
    for _ in range(steps):
        x = tf.constant(rng.normal(size=(8, 6)), tf.float32)
        y = tf.reduce_sum(x**2, axis=1, keepdims=True) / 3
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.mean_squared_error(y, net(x)))
        variables = net.trainable_variables
        grads = [tf.clip_by_norm(g, clip) for g in tape.gradient(loss, variables)]
        opt.apply_gradients(zip(grads, variables))
        tf.print("loss", loss)
    return net, opt


if __name__ == "__main__":
    net, opt = main()
