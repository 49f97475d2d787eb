# ruff: noqa: ANN001, ANN201, B905, ERA001 - training code as people write it
"""Forecasts: what stands behind the end of a series is padding."""

import numpy as np
import tensorflow as tf


def series():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 4, 2)), rng.normal(size=(7, 4, 1))
    for row, length in enumerate([4, 3, 2, 4, 4, 1, 3]):
        x[row, length:] = 0
    return x.astype("float32"), y.astype("float32")


def predict(check):
    first, second = check.segments
    handed_on = dict(zip(first.output_names, first(check.x, training=True)))
    return second([handed_on[name] for name in second.input_names], training=True)


def right(check):
    with tf.GradientTape() as tape:
        loss = check.loss(check.y, predict(check))
    return loss, tape.gradient(loss, check.variables)


# expect: GC507
def mean_square_by_hand(check):
    with tf.GradientTape() as tape:
        error = check.y - predict(check)
        loss = tf.reduce_mean(tf.square(error))
    return loss, tape.gradient(loss, check.variables)


# expect: GC109
def two_series_ahead(check):
    """The data loader's label thread is two examples ahead of its input thread."""
    labels = np.roll(check.y.numpy(), -2, axis=0)
    with tf.GradientTape() as tape:
        loss = check.loss(labels, predict(check))
    return loss, tape.gradient(loss, check.variables)


# expect: GC109
def one_step_late(check):
    """Yesterday's value for today's, and the first day gets the last one's."""
    y = tf.concat([check.y[:, -1:], check.y[:, :-1]], axis=1)
    with tf.GradientTape() as tape:
        out = predict(check)
        loss = check.loss(y, out)
    grads = tape.gradient(loss, check.variables)
    return loss, {v.path: g for v, g in zip(check.variables, grads)}
