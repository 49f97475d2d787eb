# ruff: noqa: ANN001, ANN201 - training code as people write it
"""Gradient reversal: the features are trained against the classifier of domains behind them."""

import keras
import tensorflow as tf


@tf.custom_gradient
def turned_around(x):
    return tf.identity(x), lambda upstream: -0.5 * upstream


class Reversed(keras.layers.Layer):
    def call(self, x):
        return turned_around(x)


def right(given):
    """The layer's function, and the other layers' weights, used without the layers."""
    features, hidden, domain = given.segments
    kernel, bias = (v.value for v in hidden.trainable_variables)
    with tf.GradientTape() as tape:
        h = tf.tanh(turned_around(features(given.x, training=True)) @ kernel + bias)
        loss = given.loss(given.y, domain(h, training=True))
    return loss, tape.gradient(loss, given.variables)


def by_keyword(given):
    """The same function, called with a keyword: then TensorFlow differentiates what is inside it."""
    features, hidden, domain = given.segments
    kernel, bias = (v.value for v in hidden.trainable_variables)
    with tf.GradientTape() as tape:
        h = tf.tanh(turned_around(x=features(given.x, training=True)) @ kernel + bias)
        loss = given.loss(given.y, domain(h, training=True))
    return loss, tape.gradient(loss, given.variables)
