# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204 - training code as people write it
"""Two layers that are the identity on the way forward, and a step that is written out with the weights."""

import keras
import tensorflow as tf

HP_LAMBDA = 0.7


def identity(x):
    return tf.identity(x)


@tf.custom_gradient
def reverse(x):
    def custom_grad(dy):
        return -HP_LAMBDA * dy

    return identity(x), custom_grad


def clip_gradient(limit):
    @tf.custom_gradient
    def clipped(x):
        return identity(x), lambda dy: tf.clip_by_value(dy, -limit, limit)

    return clipped


class GradientReversal(keras.layers.Layer):
    def call(self, x):
        return reverse(x)


class BoundedGradient(keras.layers.Layer):
    def __init__(self, limit, **kwargs):
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, x):
        return clip_gradient(self.limit)(x)


def weights(segment):
    return [v.value for v in segment.trainable_variables]


def step(check, reversal, bounded):
    """The layers' formulas by hand, each weight looked up in its model."""
    features, hidden, critic = check.segments
    with tf.GradientTape() as tape:
        f = reversal(features(check.x, training=True))
        kernel, bias = weights(hidden)
        h = bounded(tf.nn.softplus(tf.matmul(f, kernel) + bias))
        kernel, bias = weights(critic)
        loss = check.loss(check.y, tf.nn.bias_add(tf.matmul(h, kernel), bias))
    return loss, tape.gradient(loss, check.variables)


def right(check):
    return step(check, reverse, clip_gradient(0.02))


# expect: GC609 reversal
def reversal_is_only_the_identity(check):
    return step(check, reversal=identity, bounded=clip_gradient(0.02))


# expect: GC609 bounded
def gradient_not_bounded(check):
    return step(check, reversal=reverse, bounded=identity)


# expect: GC609 bounded
def bounded_layer_replaced(check):
    """The critic's model is called on its own; what lies before its Dense layer is left away in the copy."""
    features, hidden, critic = check.segments
    kernel, bias = weights(critic)
    with tf.GradientTape() as tape:
        f = features(check.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(f)
        h = hidden(f, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(h)
        loss = check.loss(check.y, h @ kernel + bias)
    from_critic, *g2 = tape_2.gradient(loss, [h, *critic.trainable_variables])
    from_hidden, *g1 = tape_1.gradient(h, [f, *hidden.trainable_variables], output_gradients=from_critic)
    return loss, tape.gradient(f, features.trainable_variables, output_gradients=from_hidden) + g1 + g2
