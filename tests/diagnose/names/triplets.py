# ruff: noqa: ANN001, ANN201, ANN202, B905 - training code as people write it
"""Supervised contrastive learning (Khosla et al.), over two halves of a batch."""

import numpy as np
import tensorflow as tf


def batch():
    rng = np.random.default_rng(5)
    return rng.normal(size=(8, 5)).astype("float32"), np.array([[0], [1], [0], [1], [1], [0], [1], [0]], "float32")


def supervised_contrastive():
    def loss(labels, z):
        labels = tf.reshape(labels, [-1, 1])
        z = tf.math.l2_normalize(z, axis=1)
        size = tf.shape(z)[0]
        others = 1.0 - tf.eye(size)
        same = tf.cast(tf.equal(labels, tf.transpose(labels)), tf.float32) * others
        logits = tf.matmul(z, z, transpose_b=True) / 0.3
        log_prob = logits - tf.math.log(tf.reduce_sum(tf.exp(logits) * others, axis=1, keepdims=True))
        return -tf.reduce_mean(tf.reduce_sum(same * log_prob, 1) / tf.reduce_sum(same, 1))

    return loss


def of_slice(check, x, y):
    body, head = check.segments
    with tf.GradientTape() as tape:
        loss = check.loss(y, head(body(x, training=True), training=True))
    return loss, tape.gradient(loss, check.variables)


def right(check):
    return of_slice(check, check.x, check.y)


# expect: GC301 cached
def mean_of_two_halves(check):
    (loss_0, g_0), (loss_1, g_1) = (of_slice(check, check.x[s], check.y[s]) for s in (slice(0, 4), slice(4, 8)))
    return (loss_0 + loss_1) / 2, {v.path: (a + b) / 2 for v, a, b in zip(check.variables, g_0, g_1)}
