"""Padded sequences in micro-batches: summed token losses, divided once by the number of real tokens."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

PAD, VOCAB, LENGTH = 0, 12, 8


def corpus(rng, sentences):
    tokens = np.full((sentences, LENGTH + 1), PAD)
    for row in tokens:
        n = rng.integers(4, LENGTH + 2)
        row[:n] = 1 + (rng.integers(0, VOCAB - 1) + 3 * np.arange(n)) % (VOCAB - 1)
    return tokens


def build():
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(VOCAB, 8)(inputs)
    x = layers.Conv1D(12, 3, padding="causal", activation="relu")(x)
    return keras.Model(inputs, layers.Dense(VOCAB)(x))


def summed_loss(model, tokens):
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    logits = model(inputs, training=True)
    per_token = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    mask = tf.cast(targets != PAD, tf.float32)
    return tf.reduce_sum(per_token * mask), tf.reduce_sum(mask)


def train_batch(model, optimizer, tokens, micro=4):
    variables = model.trainable_variables
    grads = [tf.zeros(v.shape) for v in variables]
    loss_sum = token_count = 0.0
    for start in range(0, len(tokens), micro):
        with tf.GradientTape() as tape:
            loss, count = summed_loss(model, tokens[start : start + micro])
        for i, g in enumerate(tape.gradient(loss, variables)):
            grads[i] += g
        loss_sum += loss
        token_count += count
    optimizer.apply_gradients((g / token_count, v) for g, v in zip(grads, variables))
    return loss_sum / token_count


def main():
    keras.utils.set_random_seed(97)
    rng = np.random.default_rng(97)
    model, optimizer = build(), keras.optimizers.Adam(0.01)
    for step in range(3):
        print(f"step {step}: loss per token {train_batch(model, optimizer, corpus(rng, 12)):.4f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()
