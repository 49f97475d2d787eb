"""Every update is the mean of four small batches."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(83)
rng = np.random.default_rng(83)

EVERY = 4
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(3)])
optimizer = keras.optimizers.SGD(0.1)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

features = rng.normal(size=(64, 4)).astype("float32")
labels = features[:, :3].argmax(axis=1)


def zeros():
    return [tf.zeros(v.shape) for v in model.trainable_variables]


held = zeros()
for index in range(16):
    rows = slice(4 * index, 4 * index + 4)
    with tf.GradientTape() as tape:
        loss = loss_fn(labels[rows], model(features[rows], training=True)) / EVERY
    gradients = tape.gradient(loss, model.trainable_variables)
    if (index + 1) % EVERY == 0:
        optimizer.apply_gradients(zip(held, model.trainable_variables))  # expect: GC206
        print(f"{index + 1:3d} batches, loss {EVERY * loss:.4f}")
        held = zeros()
    else:
        held = [h + g for h, g in zip(held, gradients)]
