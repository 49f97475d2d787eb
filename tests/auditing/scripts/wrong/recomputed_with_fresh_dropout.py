"""The client forgets its activations after sending them, and computes them again for the backward pass."""

import keras
import numpy as np
import tensorflow as tf


class ForgetfulClient:
    def __init__(self):
        self.model = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(8, activation="tanh"),
                keras.layers.Dropout(0.5, seed=4),
                keras.layers.Dense(6, activation="tanh"),
            ]
        )
        self.optimizer = keras.optimizers.SGD(0.1)

    def forward(self, x):
        return self.model(x, training=True)

    def backward(self, x, cotangent):
        with tf.GradientTape() as tape:
            h = self.model(x, training=True)  # expect: GC303
        grads = tape.gradient(h, self.model.trainable_variables, output_gradients=cotangent)
        self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))


class Server:
    def __init__(self):
        self.model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(7, "tanh"), keras.layers.Dense(1)])
        self.optimizer = keras.optimizers.SGD(0.1)

    def train(self, h, y):
        with tf.GradientTape() as tape:
            tape.watch(h)
            loss = tf.reduce_mean(tf.square(self.model(h, training=True) - y))
        dh, grads = tape.gradient(loss, [h, self.model.trainable_variables])
        self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
        return dh, loss


keras.utils.set_random_seed(191)
rng = np.random.default_rng(191)
client, server = ForgetfulClient(), Server()
for step in range(5):
    x = rng.normal(size=(8, 5)).astype("float32")
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3]
    cotangent, loss = server.train(client.forward(x), y)
    client.backward(x, cotangent)
    print(step, f"{loss.numpy():.4f}")
