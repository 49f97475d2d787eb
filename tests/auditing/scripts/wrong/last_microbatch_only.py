"""Trains on virtual batches: several small batches for each update."""

import argparse

import keras
import numpy as np
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--micro", type=int, default=3, help="small batches per update")
parser.add_argument("--updates", type=int, default=4)
parser.add_argument("--lr", type=float, default=0.05)
options = parser.parse_args()

keras.utils.set_random_seed(73)
rng = np.random.default_rng(73)


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(7, activation="elu")
        self.out = keras.layers.Dense(2)

    def call(self, x):
        return self.out(self.hidden(x))


def stream():
    while True:
        x = rng.normal(size=(6, 5)).astype("float32")
        yield x, np.stack([x[:, 0] + x[:, 1], np.cos(x[:, 2])], axis=1)


net = Net()
optimizer = keras.optimizers.Adagrad(options.lr)
batches = stream()
for update in range(options.updates):
    losses = []
    for _ in range(options.micro):
        x, y = next(batches)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((net(x) - y) ** 2)
        losses.append(loss.numpy())
        grads = tape.gradient(loss, net.trainable_variables)  # expect: GC204
    optimizer.apply_gradients(zip(grads, net.trainable_variables))
    print(f"update {update}: loss {np.mean(losses):.4f}")
