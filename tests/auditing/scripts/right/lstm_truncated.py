# audit: --allow GC304
"""Truncated backpropagation: gradients of every chunk on its own, averaged into one update."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class TruncatedBPTT:
    def __init__(self, units, chunk, lr):
        self.chunk = chunk
        self.rnn = layers.LSTM(units, return_sequences=True, return_state=True)
        self.dense = layers.Dense(2)
        self.optimizer = keras.optimizers.Adam(lr)

    @property
    def variables(self):
        return self.rnn.trainable_variables + self.dense.trainable_variables

    def train_on(self, x, y):
        pieces = x.shape[1] // self.chunk
        state, total, losses = None, None, []
        for xs, ys in zip(np.split(x, pieces, axis=1), np.split(y, pieces, axis=1)):
            with tf.GradientTape() as tape:
                out, *new_state = self.rnn(xs, initial_state=state)
                loss = tf.reduce_mean(tf.square(ys - self.dense(out)))
            grads = tape.gradient(loss, self.variables)
            total = grads if total is None else [t + g for t, g in zip(total, grads)]
            losses.append(float(loss))
            state = new_state  # only its value goes on to the next chunk
        self.optimizer.apply_gradients(zip([t / pieces for t in total], self.variables))
        return np.mean(losses)


keras.utils.set_random_seed(64)
rng = np.random.default_rng(64)
trainer = TruncatedBPTT(units=8, chunk=4, lr=0.01)
for step in range(4):
    x = rng.normal(size=(6, 12, 3)).astype("float32")
    y = (np.cumsum(x, axis=1)[..., :2] / 2).astype("float32")
    print(step, trainer.train_on(x, y))
