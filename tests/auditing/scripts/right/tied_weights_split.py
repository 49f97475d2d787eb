"""A word model whose embedding matrix is also its output layer; both ends run on their own tapes."""

import numpy as np
import tensorflow as tf
from keras import optimizers

VOCAB, DIM, CONTEXT = 15, 8, 3


class TiedModel(tf.Module):
    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.table = tf.Variable(rng.normal(scale=0.5, size=(VOCAB, DIM)), dtype=tf.float32, name="table")
        self.mix = tf.Variable(rng.normal(scale=0.4, size=(CONTEXT * DIM, DIM)), dtype=tf.float32, name="mix")
        self.bias = tf.Variable(rng.normal(scale=0.1, size=VOCAB), dtype=tf.float32, name="bias")

    def encode(self, words):
        vectors = tf.gather(self.table, words)
        return tf.tanh(tf.reshape(vectors, (-1, CONTEXT * DIM)) @ self.mix)

    def decode(self, code):
        return tf.matmul(code, self.table, transpose_b=True) + self.bias


def gradients(model, words, following):
    with tf.GradientTape() as lower:
        code = model.encode(words)
    with tf.GradientTape() as upper:
        upper.watch(code)
        logits = model.decode(code)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=following, logits=logits))
    d_code, d_table_out, d_bias = upper.gradient(loss, [code, model.table, model.bias])
    d_table_in, d_mix = lower.gradient(code, [model.table, model.mix], output_gradients=d_code)
    # the table is used at both ends
    d_table = tf.convert_to_tensor(d_table_in) + d_table_out
    return loss, [(d_table, model.table), (d_mix, model.mix), (d_bias, model.bias)]


model = TiedModel(seed=4)
optimizer = optimizers.Adam(0.02)
rng = np.random.default_rng(40)
for step in range(4):
    words = rng.integers(0, VOCAB, size=(8, CONTEXT))
    words[:, 1] = words[:, 0]  # words repeat
    loss, pairs = gradients(model, words, words.sum(axis=1) % VOCAB)
    optimizer.apply_gradients(pairs)
    print(f"step {step}: {loss:.4f}")
