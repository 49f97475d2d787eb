# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204, B905 - training code as people write it
"""Straight-through estimators, and training loops that use the functions behind the layers."""

import keras
import tensorflow as tf


def to_levels(x, levels):
    return tf.round(x * levels) / levels


def almost_sign(x):
    return x / (tf.abs(x) + 0.1)


def straight_through(function):
    @tf.custom_gradient
    def decorated(x):
        return function(x), lambda upstream: upstream

    return decorated


@tf.custom_gradient
def binarised(x):
    """Hinton's: the gradient passes where |x| is at most 1."""

    def grad(upstream):
        return tf.where(tf.abs(x) <= 1, upstream, tf.zeros_like(upstream))

    return almost_sign(x), grad


class Quantise(keras.layers.Layer):
    def __init__(self, levels, **kwargs):
        super().__init__(**kwargs)
        self.levels = levels

    def call(self, x):
        return straight_through(lambda x: to_levels(x, self.levels))(x)


class Binarise(keras.layers.Layer):
    def call(self, x):
        return binarised(x)


def gradients(check, quantise, binarise):
    encode, _, middle, _, decode = check.segments
    with tf.GradientTape() as tape:
        codes = quantise(encode(check.x, training=True))
        bits = binarise(middle(codes, training=True))
        loss = check.loss(check.y, decode(bits, training=True))
    grads = tape.gradient(loss, check.variables)
    return loss, [tf.zeros(v.shape) if g is None else g for g, v in zip(grads, check.variables)]


def right(check):
    return gradients(check, straight_through(lambda x: to_levels(x, 4)), binarised)


def right_with_stop_gradient(check):
    """The other way to write it: the residual is a constant."""
    return gradients(check, lambda x: x + tf.stop_gradient(to_levels(x, 4) - x), binarised)


# expect: GC609|GC102 quantise
def rounding_undecorated(check):
    """`to_levels` as it is, whose gradient is None."""
    return gradients(check, lambda x: to_levels(x, 4), binarised)


# expect: GC609 binarise
def sign_undecorated(check):
    """The function of the forward pass as it is, which TensorFlow differentiates without the hat."""
    return gradients(check, straight_through(lambda x: to_levels(x, 4)), almost_sign)
