# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204 - training code as people write it
"""A classifier in the functional style, and backbone and head rewritten as Sequential models."""

import keras
import tensorflow as tf
from keras import layers


@tf.custom_gradient
def square(x):
    def backward(upstream):
        return 2.0 * x * upstream

    return x * x, backward


@tf.custom_gradient
def square_of_a_half(x):
    """The two was lost with the half that the loss used to have."""

    def backward(upstream):
        return x * upstream

    return x * x, backward


class Square(layers.Layer):
    def __init__(self, function=square, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


class Sparse(layers.Layer):
    """Adds what the activations cost to the loss."""

    def call(self, x):
        self.add_loss(0.05 * keras.ops.mean(keras.ops.abs(x)))
        return x


def classifier():
    images = keras.Input((8, 8, 1), name="images")
    x = layers.Conv2D(4, 3, activation="elu", padding="same", name="conv")(images)
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = Sparse(name="sparse")(x)
    x = layers.Conv2D(3, 3, name="conv_1")(x)
    x = Square(name="square")(x)
    x = layers.GlobalAveragePooling2D(name="global_pool")(x)
    x = layers.Dense(5, name="hidden")(x)
    x = layers.LeakyReLU(negative_slope=0.2, name="leaky")(x)
    return keras.Model(images, layers.Dense(3, name="logits")(x))


def backbone_of(pool=layers.AveragePooling2D, sparse=Sparse):
    first = layers.Conv2D(4, 3, activation="elu", padding="same", name="conv")
    more = [pool(2, name="pool")] + ([] if sparse is None else [sparse(name="sparse")])
    return keras.Sequential([keras.Input((8, 8, 1)), first, *more], name="backbone")


def head_of(slope=0.2, function=square):
    return keras.Sequential(
        [
            keras.Input((4, 4, 4)),
            layers.Conv2D(3, 3, name="conv_1"),
            Square(function, name="square"),
            layers.GlobalAveragePooling2D(name="global_pool"),
            layers.Dense(5, name="hidden"),
            *([] if slope is None else [layers.LeakyReLU(negative_slope=slope, name="leaky")]),
            layers.Dense(3, name="logits"),
        ],
        name="head",
    )


def backbone():
    return backbone_of()


def head():
    return head_of()


def right():
    """Takes no place: both halves as they are."""


# expect: GC113 backbone
def backbone_with_max_pooling():
    return backbone_of(pool=layers.MaxPooling2D)


# expect: GC113 head
def head_with_the_default_slope():
    return head_of(slope=0.3)


# expect: GC113 head
def head_without_activation():
    return head_of(slope=None)


# expect: GC501 backbone
def backbone_without_the_added_loss():
    return backbone_of(sparse=None)


# expect: GC601 square
def head_with_half_the_slope():
    return head_of(function=square_of_a_half)
