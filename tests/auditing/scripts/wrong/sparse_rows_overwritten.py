"""Bag-of-words classifier that updates only the embedding rows of the words it saw."""

import numpy as np
import tensorflow as tf

WORDS = 8
rng = np.random.default_rng(181)


class BagOfWords(tf.Module):
    def __init__(self):
        super().__init__()
        self.embedding = tf.Variable(rng.normal(size=(WORDS, 5)).astype("float32"), name="embedding")
        self.kernel = tf.Variable(rng.normal(size=(5, 2)).astype("float32") * 0.5, name="kernel")
        self.bias = tf.Variable(tf.zeros(2), name="bias")

    def __call__(self, words):
        bag = tf.reduce_mean(tf.gather(self.embedding, words), axis=1)
        return tf.tanh(bag) @ self.kernel + self.bias


def update_rows(variable, slices, lr):
    """Gradient descent for the rows that a sparse gradient names."""
    rows = tf.gather(variable, slices.indices) - lr * slices.values
    variable.scatter_update(tf.IndexedSlices(rows, slices.indices))  # expect: GC404


model = BagOfWords()
for step in range(5):
    words = rng.integers(0, WORDS, size=(6, 4))
    labels = (words.sum(axis=1) > 14).astype("int64")
    with tf.GradientTape() as tape:
        logits = model(words)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    d_embedding, d_kernel, d_bias = tape.gradient(loss, [model.embedding, model.kernel, model.bias])
    update_rows(model.embedding, d_embedding, lr=0.5)
    model.kernel.assign_sub(0.2 * d_kernel)
    model.bias.assign_sub(0.2 * d_bias)
    print(f"step {step}: loss {loss:.4f}")
