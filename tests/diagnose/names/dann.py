# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204, B905, FBT002, N806 - training code as people write it
"""DANN: a feature extractor, a label classifier, and a domain classifier that the features are trained against."""

import keras
import tensorflow as tf
from keras import ops

LAMBDA = 0.3


class Reversal(keras.layers.Layer):
    """The identity, whose gradient is -strength."""

    def __init__(self, strength, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength

    def call(self, x):
        return (1 + self.strength) * ops.stop_gradient(x) - self.strength * x


def heads(check, f, reverse=True):
    """The loss, the gradients of both heads, and what each sends back to the features."""
    _, label, reversal, domain = check.segments
    f_label, f_domain = tf.identity(f), tf.identity(f)
    with tf.GradientTape() as tape:
        tape.watch((f_label, f_domain))
        reversed_f = reversal(f_domain, training=True) if reverse else f_domain
        loss = check.loss(check.y, [label(f_label, training=True), domain(reversed_f, training=True)])
    sources = (label.trainable_variables, domain.trainable_variables, f_label, f_domain)
    g_label, g_domain, from_label, from_domain = tape.gradient(loss, sources)
    return loss, (g_label, g_domain), from_label, from_domain


def by_path(check, g_features, of_heads):
    models = (check.segments[0], check.segments[1], check.segments[3])
    found = zip(models, (g_features, *of_heads))
    return {v.path: g for model, grads in found for v, g in zip(model.trainable_variables, grads)}


def right(check):
    G_f = check.segments[0]
    with tf.GradientTape() as tape:
        f = G_f(check.x, training=True)
    loss, of_heads, from_label, from_domain = heads(check, f)
    grads = tape.gradient(f, G_f.trainable_variables, output_gradients=from_label + from_domain)
    return loss, by_path(check, grads, of_heads)


def right_by_hand(check):
    """Without the layer: the sign and the factor are given to the cotangent."""
    G_f = check.segments[0]
    with tf.GradientTape() as tape:
        f = G_f(check.x, training=True)
    loss, of_heads, from_label, from_domain = heads(check, f, reverse=False)
    seed = from_label - LAMBDA * from_domain
    grads = tape.gradient(f, G_f.trainable_variables, output_gradients=seed)
    return loss, by_path(check, grads, of_heads)


# expect: GC112 features
def reversal_forgotten(check):
    """The domain classifier is fed the features themselves, and nobody turns its gradient round."""
    G_f = check.segments[0]
    with tf.GradientTape() as tape:
        f = G_f(check.x, training=True)
    loss, of_heads, from_label, from_domain = heads(check, f, reverse=False)
    grads = tape.gradient(f, G_f.trainable_variables, output_gradients=from_label + from_domain)
    return loss, by_path(check, grads, of_heads)


# expect: GC112|GC504 segment_2
def reversed_twice(check):
    """The layer reverses, and so does the line that adds up."""
    G_f = check.segments[0]
    with tf.GradientTape() as tape:
        f = G_f(check.x, training=True)
    loss, of_heads, from_label, from_domain = heads(check, f)
    grads = tape.gradient(f, G_f.trainable_variables, output_gradients=from_label - from_domain)
    return loss, by_path(check, grads, of_heads)


# expect: GC112 features
def reversed_and_weighed_twice(check):
    """Layer and sum both apply -lambda. Each path has a tape gradient of its own."""
    G_f = check.segments[0]
    with tf.GradientTape(persistent=True) as tape:
        f = G_f(check.x, training=True)
    loss, of_heads, from_label, from_domain = heads(check, f)
    up = tape.gradient(f, G_f.trainable_variables, output_gradients=from_label)
    down = tape.gradient(f, G_f.trainable_variables, output_gradients=from_domain)
    return loss, by_path(check, [u - LAMBDA * d for u, d in zip(up, down)], of_heads)


# expect: GC112 features
def lambda_forgotten(check):
    """The sign by hand, as in the paper's figure, but not the factor."""
    G_f = check.segments[0]
    loss, of_heads = None, None

    def confusion(f):
        nonlocal loss, of_heads
        loss, of_heads, from_label, from_domain = heads(check, f, reverse=False)
        return from_label + tf.negative(from_domain)

    with tf.GradientTape() as tape:
        f = G_f(check.x, training=True)
    grads = tape.gradient(f, G_f.trainable_variables, output_gradients=confusion(f))
    return loss, by_path(check, grads, of_heads)
