# ruff: noqa: ANN001, ANN201 - training code as people write it
"""A language model whose output layer is its embedding, turned around, as three models."""

import keras
import tensorflow as tf
from keras import layers, ops


def build():
    tokens = keras.Input((5,), dtype="int32")
    words, shared = layers.Embedding(7, 4, name="words"), layers.Dense(4, activation="tanh", name="shared")
    x = layers.Dense(4, activation="tanh", name="read")(shared(words(tokens)))
    x = layers.LayerNormalization(name="again")(shared(x))
    return keras.Model(tokens, ops.einsum("btd,vd->btv", x, words.embeddings))


def by_model(given):
    """The loss, and for each model its variables and their gradients."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        b = middle(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(given.y, back(b, training=True))
    from_loss, *g2 = tape_2.gradient(loss, [b, *back.trainable_variables])
    from_middle, *g1 = tape_1.gradient(b, [a, *middle.trainable_variables], output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    found = [g0, g1, g2]
    return loss, [(s.trainable_variables, g) for s, g in zip(given.segments, found, strict=True)]


def right(given):
    loss, found = by_model(given)
    total = {}
    for variables, gradients in found:
        for v, g in zip(variables, gradients, strict=True):
            total[v.path] = total.get(v.path, 0) + tf.convert_to_tensor(g)
    return loss, total


def overwritten(given):
    """A dict that is filled model by model: the later use of a weight takes the place of the earlier."""
    loss, found = by_model(given)
    total = {}
    for variables, gradients in found:
        total.update({v.path: g for v, g in zip(variables, gradients, strict=True)})
    return loss, total


def output_layer_forgotten(given):
    """The last model's use of the table is not added: `it has no weights of its own`."""
    loss, found = by_model(given)
    total = {}
    for variables, gradients in found[:2]:
        for v, g in zip(variables, gradients, strict=True):
            total[v.path] = total.get(v.path, 0) + tf.convert_to_tensor(g)
    return loss, total
