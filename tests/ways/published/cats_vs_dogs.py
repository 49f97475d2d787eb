"""Cats and dogs: a small Xception that augments its own images."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def separable(x: Any, width: int) -> Any:
    """Two separable convolutions, each after its activation, beside a projection of what came in."""
    shortcut = layers.Conv2D(width, 1, strides=2, padding="same")(x)
    for _ in range(2):
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(width, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
    return layers.add([layers.MaxPooling2D(3, strides=2, padding="same")(x), shortcut])


def build() -> keras.Model:
    photo = keras.Input((32, 32, 3), name="photo")
    x = layers.RandomFlip("horizontal", name="flip")(photo)
    x = layers.RandomRotation(0.1, name="rotation")(x)
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    for width in (12, 16):
        x = separable(x, width)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.25)(x)
    return keras.Model(photo, layers.Dense(1, name="is_dog")(x), name="cats_vs_dogs")
