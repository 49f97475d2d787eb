"""Split training with a static loss scale, so that small gradients survive reduced precision."""

import keras
import numpy as np
import tensorflow as tf

SCALE = 1024.0


class Party:
    def __init__(self, layers, width):
        self.model = keras.Sequential([keras.Input((width,)), *layers])
        self.optimizer = keras.optimizers.Adam(0.01)

    @property
    def weights(self):
        return self.model.trainable_variables


class Top(Party):
    def train(self, hidden, y):
        with tf.GradientTape() as tape:
            tape.watch(hidden)
            loss = tf.reduce_mean(tf.square(self.model(hidden) - y))
            scaled = SCALE * loss
        d_hidden, grads = tape.gradient(scaled, [hidden, self.weights])
        self.optimizer.apply_gradients(zip([g / SCALE for g in grads], self.weights))
        return loss, d_hidden


class Bottom(Party):
    def train(self, x, top, y):
        with tf.GradientTape() as tape:
            hidden = self.model(x)
        loss, d_hidden = top.train(hidden, y)
        grads = tape.gradient(hidden, self.weights, output_gradients=d_hidden)
        self.optimizer.apply_gradients(zip(grads, self.weights))  # expect: GC503
        return loss


def main():
    keras.utils.set_random_seed(139)
    rng = np.random.default_rng(139)
    bottom = Bottom([keras.layers.Dense(8, "tanh"), keras.layers.Dense(6, "tanh")], width=5)
    top = Top([keras.layers.Dense(7, "tanh"), keras.layers.Dense(2)], width=6)
    for step in range(5):
        x = rng.normal(size=(8, 5)).astype("float32")
        y = np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1)
        print(f"step {step}: loss {bottom.train(x, top, y):.4f}")
    return bottom, top


if __name__ == "__main__":
    bottom, top = main()
