"""Long sensor recordings: one tape for each window saves memory, one update for each recording."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(97)
rng = np.random.default_rng(97)

WINDOWS, WINDOW = 3, 5

cell = keras.layers.LSTMCell(6)
readout = keras.layers.Dense(1)
cell.build((None, 2))
readout.build((None, 6))
weights = cell.trainable_variables + readout.trainable_variables
optimizer = keras.optimizers.RMSprop(0.01)


def run_window(window, state):
    predictions = []
    for t in range(WINDOW):
        out, state = cell(window[:, t], state)
        predictions.append(readout(out))
    return tf.stack(predictions, axis=1), state


for recording in range(3):
    signal = rng.normal(size=(6, WINDOWS * WINDOW, 2)).astype("float32")
    wanted = np.cumsum(signal[:, :, :1], axis=1) / np.sqrt(WINDOWS * WINDOW)
    state = [tf.zeros((6, 6)), tf.zeros((6, 6))]
    total_loss, total = 0.0, None
    for k in range(WINDOWS):
        part = slice(k * WINDOW, (k + 1) * WINDOW)
        with tf.GradientTape() as tape:
            predicted, state = run_window(tf.constant(signal[:, part]), state)
            loss = tf.reduce_mean(tf.square(predicted - wanted[:, part])) / WINDOWS
        grads = tape.gradient(loss, weights)  # expect: GC304
        total = grads if total is None else [a + b for a, b in zip(total, grads)]
        total_loss += float(loss)
    optimizer.apply_gradients(zip(total, weights))
    print("recording", recording, "loss", round(total_loss, 4))
