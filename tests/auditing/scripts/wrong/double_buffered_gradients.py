"""While the gradients of one batch are exchanged, those of the next are computed: two buffers take turns."""

import keras
import numpy as np
import tensorflow as tf


class DoubleBuffer:
    def __init__(self):
        self._buffers = [None, None]
        self._turn = 0

    def put(self, gradients):
        self._buffers[self._turn] = gradients

    def flip(self):
        self._turn = 1 - self._turn

    def ready(self):
        return self._buffers[self._turn]


class Trainer:
    def __init__(self):
        self.model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(2)]
        )
        self.optimizer = keras.optimizers.SGD(0.05)
        self.buffer = DoubleBuffer()

    def compute(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.model(x, training=True) - y))
        self.buffer.put(tape.gradient(loss, self.model.trainable_variables))
        self.buffer.flip()
        return loss

    def update(self):
        gradients = self.buffer.ready()
        if gradients is not None:
            self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables))  # expect: GC305


def main():
    keras.utils.set_random_seed(101)
    rng = np.random.default_rng(101)
    trainer = Trainer()
    for step in range(6):
        x = rng.normal(size=(8, 6)).astype("float32")
        y = np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1)
        loss = trainer.compute(x, y)
        trainer.update()
        print(f"{step}: {loss:.4f}")
    return trainer


if __name__ == "__main__":
    trainer = main()
