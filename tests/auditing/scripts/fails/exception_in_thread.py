"""A loader thread fills a queue with batches; what goes wrong in it is raised again in the training loop."""

import queue
import threading

import keras
import numpy as np
import tensorflow as tf


class Loader(threading.Thread):
    def __init__(self, batches):
        super().__init__(daemon=True)
        self.batches = batches
        self.queue = queue.Queue(maxsize=2)
        self.error = None

    def run(self):
        try:
            for number in range(self.batches):
                self.queue.put(self.load(number))
        except Exception as error:
            self.error = error
            raise
        finally:
            self.queue.put(None)

    def load(self, number):
        shards = {0: 6, 2: 7, 3: 8}
        rng = np.random.default_rng(shards[number])
        x = rng.normal(size=(8, 4)).astype("float32")
        return x, x[:, :1] - x[:, 1:2]


def train(model, optimizer, loader):
    loader.start()
    while (batch := loader.queue.get()) is not None:
        x, y = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x) - y))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        print(f"loss {loss:.4f}")
    loader.join()
    if loader.error is not None:
        raise RuntimeError("the loader stopped early") from loader.error


if __name__ == "__main__":
    keras.utils.set_random_seed(6)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    train(network, keras.optimizers.SGD(0.05), Loader(batches=4))
