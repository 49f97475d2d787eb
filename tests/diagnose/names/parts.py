# ruff: noqa: ANN001, ANN002, ANN003, ANN201 - training code as people write it
"""A network that was cut by hand, and its parts as they were copied. Each wrong one takes the right one's place."""

import keras
import tensorflow as tf
from keras import layers


@tf.custom_gradient
def softsign(x):
    """x / (1 + |x|), whose derivative is 1 / (1 + |x|)²."""
    denominator = 1 + tf.abs(x)
    return x / denominator, lambda dy: dy / tf.square(denominator)


@tf.custom_gradient
def softsign_from_memory(x):
    denominator = 1 + tf.abs(x)
    return x / denominator, lambda dy: dy / denominator


@tf.custom_gradient
def softsign_without_upstream(x):
    denominator = 1 + tf.abs(x)
    return x / denominator, lambda _: 1 / tf.square(denominator)


class Softsign(layers.Layer):
    function = staticmethod(softsign)

    def call(self, x):
        return self.function(x)


class SoftsignFromMemory(Softsign):
    function = staticmethod(softsign_from_memory)


class SoftsignWithoutUpstream(Softsign):
    function = staticmethod(softsign_without_upstream)


def chain(shape, *parts, name):
    x = inputs = keras.Input(shape)
    for part in parts:
        for layer in part:
            x = layer(x)
    return keras.Model(inputs, x, name=name)


def front_layers(**changed):
    settings = {"activation": "tanh", "activity_regularizer": keras.regularizers.L2(0.05)} | changed
    return [layers.Dense(6, name="first", **settings)]


def middle_layers(activation=None, epsilon=0.001, softsign_layer=Softsign, regularizer="l2"):
    return [
        layers.Dense(5, activation=activation, kernel_regularizer=regularizer, name="second"),
        softsign_layer(name="softsign"),
        layers.LayerNormalization(epsilon=epsilon, name="norm"),
    ]


def back_layers(activation="sigmoid"):
    return [layers.Dense(3, activation=activation, name="out")]


def whole():
    return chain((4,), front_layers(), middle_layers(), back_layers(), name="whole")


def front():
    return chain((4,), front_layers(), name="front")


def middle():
    return chain((6,), middle_layers(), name="middle")


def back():
    return chain((5,), back_layers(), name="back")


def right():
    """Takes no place: the parts as they are."""


# expect: GC113 front
def front_with_relu():
    return chain((4,), front_layers(activation="relu"), name="front")


# expect: GC113 middle
def middle_with_another_epsilon():
    return chain((6,), middle_layers(epsilon=0.3), name="middle")


# expect: GC113 back
def back_gives_logits():
    """The loss of the copy is meant to take logits, and the activation is gone."""
    return chain((5,), back_layers(activation=None), name="back")


# expect: GC501 middle
def middle_without_its_penalty():
    return chain((6,), middle_layers(regularizer=None), name="middle")


# expect: GC501 front
def front_without_activity_penalty():
    return chain((4,), front_layers(activity_regularizer=None), name="front")


# expect: GC601 softsign
def middle_with_a_gradient_from_memory():
    """The derivative lacks the square."""
    return chain((6,), middle_layers(softsign_layer=SoftsignFromMemory), name="middle")


# expect: GC601 softsign
def middle_ignores_upstream():
    """The derivative, and not its product with what comes back."""
    return chain((6,), middle_layers(softsign_layer=SoftsignWithoutUpstream), name="middle")
