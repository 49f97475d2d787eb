"""A long sequence read in chunks: the LSTM's state is carried on, gradients flow through all of it."""

import keras
import numpy as np
import tensorflow as tf

CHUNK = 5
CHUNKS = 3


class SequenceModel(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.cell = keras.layers.LSTM(units, return_sequences=True, return_state=True)
        self.head = keras.layers.Dense(1)

    def call(self, x, state=None):
        out, h, c = self.cell(x, initial_state=state)
        return self.head(out), [h, c]


def make_batch(rng, batch=6):
    t = np.arange(CHUNK * CHUNKS + 1)
    phase = rng.uniform(0, 2 * np.pi, size=(batch, 1))
    freq = rng.uniform(0.3, 0.9, size=(batch, 1))
    series = np.sin(freq * t + phase) + 0.05 * rng.normal(size=(batch, len(t)))
    series = tf.constant(series[..., None], tf.float32)
    return series[:, :-1], series[:, 1:]


def main():
    keras.utils.set_random_seed(50)
    rng = np.random.default_rng(50)
    model = SequenceModel(8)
    optimizer = keras.optimizers.Adam(0.01)
    for step in range(3):
        x, y = make_batch(rng)
        with tf.GradientTape() as tape:
            state, chunk_losses = None, []
            for k in range(CHUNKS):
                piece = slice(k * CHUNK, (k + 1) * CHUNK)
                prediction, state = model(x[:, piece], state=state)
                chunk_losses.append(tf.reduce_mean(tf.square(y[:, piece] - prediction)))
            loss = tf.reduce_mean(tf.stack(chunk_losses))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        print(f"{step}: {loss.numpy():.4f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()
