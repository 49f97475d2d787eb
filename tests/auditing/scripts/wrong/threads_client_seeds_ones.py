"""Split learning in one process: the server is a thread, and both sides talk through queues."""

import queue
import threading

import keras
import numpy as np
import tensorflow as tf


class ServerThread(threading.Thread):
    def __init__(self, inbox, outbox):
        super().__init__(name="server", daemon=True)
        self.inbox = inbox
        self.outbox = outbox
        self.model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)])
        self.optimizer = keras.optimizers.Adam(0.01)
        self.loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def run(self):
        while True:
            message = self.inbox.get()
            if message is None:
                return
            self.outbox.put(self.answer(*message))

    def answer(self, activations, labels):
        h = tf.constant(activations)
        with tf.GradientTape() as tape:
            tape.watch(h)
            loss = self.loss_fn(labels, self.model(h, training=True))
        dh, grads = tape.gradient(loss, [h, self.model.trainable_variables])
        self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
        return dh.numpy(), float(loss)


class Client:
    def __init__(self, to_server, from_server):
        self.to_server = to_server
        self.from_server = from_server
        self.model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7, "tanh"), keras.layers.Dense(6, "tanh")])
        self.optimizer = keras.optimizers.Adam(0.01)

    def train_on(self, x, labels):
        with tf.GradientTape() as tape:
            h = self.model(x, training=True)
        self.to_server.put((h.numpy(), labels))
        dh, loss = self.from_server.get(timeout=60)
        assert dh.shape == tuple(h.shape), "the server answered something else"
        grads = tape.gradient(h, self.model.trainable_variables)  # expect: GC101
        self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
        return loss


def main():
    keras.utils.set_random_seed(167)
    rng = np.random.default_rng(167)
    up, down = queue.Queue(), queue.Queue()
    server = ServerThread(up, down)
    client = Client(up, down)
    server.start()
    try:
        for step in range(5):
            x = rng.normal(size=(8, 5)).astype("float32")
            labels = x[:, :3].argmax(axis=1)
            print(f"step {step}: loss {client.train_on(x, labels):.4f}")
    finally:
        up.put(None)
        server.join()
    return client, server


if __name__ == "__main__":
    client, server = main()
