"""Split training where everything between the two parties is packed as half precision."""

import keras
import numpy as np
import tensorflow as tf


def pack(tensor):
    """Bytes and shape of a tensor, half as long as they would be in single precision."""
    values = np.asarray(tensor)
    return values.astype(np.float16).tobytes(), values.shape


def unpack(message):
    payload, shape = message
    return tf.constant(np.frombuffer(payload, np.float16).reshape(shape).astype(np.float32))  # expect: GC104


class Alice:
    """Has the data."""

    def __init__(self):
        self.layers = [keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(6, activation="tanh")]
        self.optimizer = keras.optimizers.SGD(0.1)

    @property
    def variables(self):
        return [v for layer in self.layers for v in layer.trainable_variables]

    def forward(self, x):
        with tf.GradientTape() as self.tape:
            self.h = x
            for layer in self.layers:
                self.h = layer(self.h)
        return pack(self.h)

    def backward(self, message):
        grads = self.tape.gradient(self.h, self.variables, output_gradients=unpack(message))
        self.optimizer.apply_gradients(zip(grads, self.variables))


class Bob:
    """Has the labels."""

    def __init__(self):
        self.net = keras.Sequential([keras.layers.Dense(7, activation="tanh"), keras.layers.Dense(1)])
        self.optimizer = keras.optimizers.SGD(0.1)

    def train(self, message, y):
        h = unpack(message)
        with tf.GradientTape() as tape:
            tape.watch(h)
            loss = tf.reduce_mean(tf.square(self.net(h) - y))
        dh, grads = tape.gradient(loss, [h, self.net.trainable_variables])
        self.optimizer.apply_gradients(zip(grads, self.net.trainable_variables))
        return pack(dh), loss


keras.utils.set_random_seed(2)
rng = np.random.default_rng(2)
alice, bob = Alice(), Bob()
for round_number in range(5):
    x = rng.normal(size=(8, 5)).astype("float32")
    y = np.prod(x[:, :2], axis=1, keepdims=True) + x[:, 2:3]
    reply, loss = bob.train(alice.forward(x), y)
    alice.backward(reply)
    print("round", round_number, "loss", loss.numpy())
