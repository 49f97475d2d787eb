"""A batch that memory cuts into unequal slices; each slice counts by the number of its examples."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

MAX_SLICE = 4  # what fits at once


def slices(x, y, size):
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]


def build():
    return keras.Sequential(
        [
            layers.Input((11, 3)),
            layers.Conv1D(8, 3, activation="relu"),
            layers.Conv1D(8, 3, activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    )


def train(model, optimizer, data):
    criterion = keras.losses.CategoricalCrossentropy(from_logits=True)
    params = model.trainable_weights
    for x, y in data:
        n = len(x)
        total_grads, total_loss = None, 0.0
        for xs, ys in slices(x, y, MAX_SLICE):
            weight = len(xs) / n
            with tf.GradientTape() as tape:
                loss = criterion(ys, model(xs))
            grads = [weight * g for g in tape.gradient(loss, params)]
            total_grads = grads if total_grads is None else [a + b for a, b in zip(total_grads, grads)]
            total_loss += weight * float(loss)
        optimizer.apply(total_grads, params)
        print(f"{n} examples, loss {total_loss:.4f}")


keras.utils.set_random_seed(61)
rng = np.random.default_rng(61)
data = []
for size in (10, 9, 11):  # the last slice has 2, 1 and 3
    x = rng.normal(size=(size, 11, 3)).astype("float32")
    data.append((x, ops.one_hot(rng.integers(0, 3, size), 3)))

model = build()
optimizer = keras.optimizers.Adam(3e-3)
train(model, optimizer, data)
