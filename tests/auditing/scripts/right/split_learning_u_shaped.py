"""U-shaped split learning: data and labels stay with the client, the server has the middle only."""

import pickle

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def send(value):
    """What a socket would carry."""
    return pickle.dumps(np.array(value))


def receive(blob):
    return tf.convert_to_tensor(pickle.loads(blob))


class Server:
    def __init__(self):
        self.body = keras.Sequential(
            [layers.Input((12,)), layers.Dense(18, activation="relu"), layers.Dense(10, activation="tanh")]
        )
        self.optimizer = keras.optimizers.Adam(0.01)

    def forward(self, blob):
        self.received = receive(blob)
        with tf.GradientTape() as self.tape:
            self.tape.watch(self.received)
            self.sent = self.body(self.received, training=True)
        return send(self.sent)

    def backward(self, blob):
        weights = self.body.trainable_variables
        grads = self.tape.gradient(self.sent, weights + [self.received], output_gradients=receive(blob))
        self.optimizer.apply_gradients(zip(grads[:-1], weights))
        return send(grads[-1])


class Client:
    def __init__(self):
        self.stem = keras.Sequential([layers.Input((8,)), layers.Dense(12, activation="tanh")])
        self.head = keras.Sequential([layers.Input((10,)), layers.Dense(3)])
        self.optimizer = keras.optimizers.Adam(0.01)

    def round(self, server, x, y):
        with tf.GradientTape() as stem_tape:
            a = self.stem(x, training=True)
        b = receive(server.forward(send(a)))
        with tf.GradientTape() as head_tape:
            head_tape.watch(b)
            logits = self.head(b, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
        head_grads, d_b = head_tape.gradient(loss, [self.head.trainable_variables, b])
        d_a = receive(server.backward(send(d_b)))
        stem_grads = stem_tape.gradient(a, self.stem.trainable_variables, output_gradients=d_a)
        self.optimizer.apply_gradients(
            zip(stem_grads + head_grads, self.stem.trainable_variables + self.head.trainable_variables)
        )
        return float(loss)


if __name__ == "__main__":
    keras.utils.set_random_seed(111)
    rng = np.random.default_rng(111)
    server, client = Server(), Client()
    for i in range(4):
        x = rng.normal(size=(8, 8)).astype("float32")
        y = np.argmax(x[:, :3] + x[:, 3:6] ** 2, axis=1)
        print("round", i, "loss", client.round(server, x, y))
