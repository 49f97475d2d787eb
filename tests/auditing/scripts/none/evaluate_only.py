"""Evaluates a classifier on held-out data."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)])
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
accuracy = keras.metrics.SparseCategoricalAccuracy()

x = rng.normal(size=(32, 5)).astype("float32")
y = rng.integers(0, 3, size=32)
losses = []
for batch_x, batch_y in tf.data.Dataset.from_tensor_slices((x, y)).batch(8):
    logits = model(batch_x, training=False)
    losses.append(float(loss_fn(batch_y, logits)))
    accuracy.update_state(batch_y, logits)
print(f"loss {np.mean(losses):.4f}, accuracy {float(accuracy.result()):.3f}")
