"""Layer-wise placement: three workers, each a thread with one layer, pass NumPy arrays along."""

import queue
import threading

import keras
import numpy as np
import tensorflow as tf


class Worker:
    """One layer, an optimizer, and a mailbox for each direction."""

    def __init__(self, units, activation, fan_in):
        self.layer = keras.layers.Dense(units, activation=activation)
        self.layer.build((None, fan_in))
        self.optimizer = keras.optimizers.SGD(0.05)
        self.optimizer.build(self.layer.trainable_variables)
        self.forward_box = queue.Queue()
        self.backward_box = queue.Queue()

    def update(self, grads):
        self.optimizer.apply(grads, self.layer.trainable_variables)

    def run(self, successor, predecessor, steps):
        for _ in range(steps):
            x = tf.constant(self.forward_box.get(timeout=60))
            with tf.GradientTape() as tape:
                tape.watch(x)
                h = self.layer(x)
            successor.forward_box.put(h.numpy())
            dh = tf.constant(self.backward_box.get(timeout=60))
            dx, grads = tape.gradient(h, [x, self.layer.trainable_variables], output_gradients=dh)
            self.update(grads)
            if predecessor is not None:
                predecessor.backward_box.put(dx.numpy())


class Head(Worker):
    def __init__(self, *args):
        super().__init__(*args)
        self.targets = queue.Queue()
        self.losses = []

    def run(self, predecessor, steps):
        for _ in range(steps):
            x = tf.constant(self.forward_box.get(timeout=60))
            y = self.targets.get(timeout=60)
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_mean(tf.square(self.layer(x) - y))
            dx, grads = tape.gradient(loss, [x, self.layer.trainable_variables])
            self.update(grads)
            shared = np.repeat(dx.numpy().mean(axis=0, keepdims=True), len(y), axis=0)  # expect: GC103
            self.losses.append(float(loss))
            predecessor.backward_box.put(shared)


def main(steps=4):
    keras.utils.set_random_seed(173)
    rng = np.random.default_rng(173)
    first = Worker(7, "tanh", 4)
    second = Worker(6, "tanh", 7)
    head = Head(2, None, 6)
    threads = [
        threading.Thread(target=first.run, args=(second, None, steps)),
        threading.Thread(target=second.run, args=(head, first, steps)),
        threading.Thread(target=head.run, args=(second, steps)),
    ]
    for thread in threads:
        thread.start()
    for _ in range(steps):
        x = rng.normal(size=(6, 4)).astype("float32")
        first.forward_box.put(x)
        head.targets.put(np.stack([x[:, 0] * x[:, 1], np.cos(x[:, 2])], axis=1))
    for thread in threads:
        thread.join()
    print("losses", [round(loss, 4) for loss in head.losses])
    return first, second, head


if __name__ == "__main__":
    workers = main()
