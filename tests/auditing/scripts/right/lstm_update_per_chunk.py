"""Stateful language model: the state runs through the text, the weights are updated after every chunk."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(27)
rng = np.random.default_rng(27)

VOCAB, BATCH, CHUNK, UNITS = 9, 6, 6, 10

# a noisy counter: the next token is mostly the last one plus the one before
tokens = np.zeros((BATCH, 4 * CHUNK + 1), dtype=int)
tokens[:, :2] = rng.integers(0, VOCAB, (BATCH, 2))
for t in range(2, tokens.shape[1]):
    tokens[:, t] = (tokens[:, t - 1] + tokens[:, t - 2] + (rng.random(BATCH) < 0.1)) % VOCAB

embed = keras.layers.Embedding(VOCAB, 6)
lstm = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True)
readout = keras.layers.Dense(VOCAB)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.RMSprop(5e-3)

state = [tf.zeros((BATCH, UNITS)), tf.zeros((BATCH, UNITS))]
for start in range(0, tokens.shape[1] - 1, CHUNK):
    inputs = tokens[:, start : start + CHUNK]
    targets = tokens[:, start + 1 : start + CHUNK + 1]
    with tf.GradientTape() as tape:
        sequence, *state = lstm(embed(inputs), initial_state=state)
        loss = loss_fn(targets, readout(sequence))
    variables = [v for layer in (embed, lstm, readout) for v in layer.trainable_variables]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    print(f"tokens {start:2d}-{start + CHUNK:2d}: perplexity {np.exp(loss.numpy()):.3f}")
