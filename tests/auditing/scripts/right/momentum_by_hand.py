"""A two-layer net with a momentum rule written by hand."""

import numpy as np
import tensorflow as tf


class Momentum:
    """v <- mu v + g;  w <- w - lr v"""

    def __init__(self, variables, lr=0.05, mu=0.9):
        self.variables = list(variables)
        self.lr, self.mu = lr, mu
        self.velocity = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self.variables]

    def minimize(self, loss_fn):
        with tf.GradientTape() as tape:
            loss = loss_fn()
        grads = tape.gradient(loss, self.variables)
        for w, v, g in zip(self.variables, self.velocity, grads):
            v.assign(self.mu * v + g)
            w.assign_sub(self.lr * v)
        return loss


rng = np.random.default_rng(12)


def param(*shape):
    return tf.Variable(rng.normal(scale=0.5, size=shape).astype("float32"))


w1, b1, w2, b2 = param(6, 12), param(12), param(12, 3), param(3)
opt = Momentum([w1, b1, w2, b2])

x = tf.constant(rng.normal(size=(8, 6)), tf.float32)
labels = tf.constant(rng.integers(0, 3, size=8))


def loss_fn():
    hidden = tf.nn.softplus(x @ w1 + b1)
    logits = hidden @ w2 + b2
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


for i in range(5):
    value = opt.minimize(loss_fn)
    if i % 2 == 0:
        print(i, value.numpy())
