"""Age and sex from one picture: two heads, two losses, weighed against each other."""

from __future__ import annotations

import keras
from keras import layers


def build() -> keras.Model:
    face = keras.Input((16, 16, 1), name="face")
    x = layers.Conv2D(8, 3, strides=2, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3))(face)
    x = layers.Conv2D(12, 3, strides=2, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3))(x)
    shared = layers.GlobalAveragePooling2D(name="shared")(x)
    years = layers.Dense(10, activation="relu")(shared)
    return keras.Model(
        face,
        {"age": layers.Dense(1, name="age")(years), "sex": layers.Dense(1, activation="sigmoid", name="sex")(shared)},
        name="faces_two_heads",
    )
