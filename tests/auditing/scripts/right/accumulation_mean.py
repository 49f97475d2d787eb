"""Gradient accumulation: four micro-batches, the mean of their gradients, one update."""

import keras
import numpy as np
import tensorflow as tf

MICRO_BATCH = 4
ACCUMULATE = 4

keras.utils.set_random_seed(2)

inputs = keras.Input((12,))
hidden = keras.layers.Dense(20, activation="relu")(inputs)
hidden = keras.layers.LayerNormalization()(hidden)
hidden = keras.layers.Dropout(0.1)(hidden)
outputs = keras.layers.Dense(5)(hidden)
model = keras.Model(inputs, outputs)

optimizer = keras.optimizers.Adam(0.005)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

rng = np.random.default_rng(77)
x = rng.normal(size=(3 * ACCUMULATE * MICRO_BATCH, 12)).astype("float32")
y = np.argmax(x[:, :5] + 0.3 * x[:, 5:10], axis=1)
dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(MICRO_BATCH)

accumulated = [tf.zeros_like(v) for v in model.trainable_variables]
running_loss = 0.0
for i, (xb, yb) in enumerate(dataset, start=1):
    with tf.GradientTape() as tape:
        loss = loss_fn(yb, model(xb, training=True))
    grads = tape.gradient(loss, model.trainable_variables)
    accumulated = [a + g for a, g in zip(accumulated, grads)]
    running_loss += float(loss)

    if i % ACCUMULATE == 0:
        mean_grads = [a / ACCUMULATE for a in accumulated]
        optimizer.apply_gradients(zip(mean_grads, model.trainable_variables))
        print(f"update {i // ACCUMULATE}: loss {running_loss / ACCUMULATE:.4f}")
        accumulated = [tf.zeros_like(v) for v in model.trainable_variables]
        running_loss = 0.0
