"""Split learning: a client and a server exchange activations and gradients as bytes.

Both sides run in threads here, the queues stand for the network.
"""

import queue
import threading

import keras
import numpy as np
import tensorflow as tf
from keras import layers

ROUNDS = 4
BATCH = 8


def pack(tensor):
    array = np.asarray(tensor)
    return {"shape": array.shape, "dtype": str(array.dtype), "payload": array.tobytes()}


def unpack(message):
    return np.frombuffer(message["payload"], dtype=message["dtype"]).reshape(message["shape"])


class Channel:
    def __init__(self):
        self.to_server = queue.Queue()
        self.to_client = queue.Queue()


class Client(threading.Thread):
    """Owns the raw data and the first layers."""

    def __init__(self, channel, x, y):
        super().__init__(name="client")
        self.channel = channel
        self.x, self.y = x, y
        self.model = keras.Sequential(
            [
                layers.Input((12,)),
                layers.Dense(16, activation="relu"),
                layers.Dense(10, activation="tanh"),
            ]
        )
        self.optimizer = keras.optimizers.Adam(0.01)

    def run(self):
        for start in range(0, len(self.x), BATCH):
            rows = slice(start, start + BATCH)
            with tf.GradientTape() as tape:
                smashed = self.model(self.x[rows], training=True)
            self.channel.to_server.put({"smashed": pack(smashed), "labels": pack(self.y[rows])})
            reply = self.channel.to_client.get()
            grads = tape.gradient(
                smashed,
                self.model.trainable_variables,
                output_gradients=tf.constant(unpack(reply["gradient"])),
            )
            self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
        self.channel.to_server.put(None)


class Server(threading.Thread):
    """Owns the last layers and computes the loss."""

    def __init__(self, channel):
        super().__init__(name="server")
        self.channel = channel
        self.model = keras.Sequential(
            [
                layers.Input((10,)),
                layers.Dense(12, activation="relu"),
                layers.Dense(3),
            ]
        )
        self.optimizer = keras.optimizers.Adam(0.01)
        self.criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.losses = []

    def run(self):
        while (message := self.channel.to_server.get()) is not None:
            smashed = tf.constant(unpack(message["smashed"]))
            labels = unpack(message["labels"])
            with tf.GradientTape() as tape:
                tape.watch(smashed)
                loss = self.criterion(labels, self.model(smashed, training=True))
            gradient, *grads = tape.gradient(loss, [smashed] + self.model.trainable_variables)
            self.channel.to_client.put({"gradient": pack(gradient)})
            self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
            self.losses.append(float(loss))


def main():
    keras.utils.set_random_seed(2024)
    rng = np.random.default_rng(2024)
    x = rng.normal(size=(ROUNDS * BATCH, 12)).astype("float32")
    y = np.argmax(x[:, :3] * x[:, 3:6], axis=1)
    channel = Channel()
    client, server = Client(channel, x, y), Server(channel)
    server.start()
    client.start()
    client.join()
    server.join()
    print("losses:", ", ".join(f"{loss:.4f}" for loss in server.losses))
    return client, server


if __name__ == "__main__":
    client, server = main()
