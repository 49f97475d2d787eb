"""Parts that are trained as one, and the same model in one piece."""

from __future__ import annotations

import keras
from keras import layers


def front() -> keras.Model:
    """Two boundary tensors: one for the next part, one that passes over it."""
    x = keras.Input([5], name="x")
    stem = layers.Dense(6, activation="tanh", name="stem")(x)
    return keras.Model(x, [layers.Dense(4, name="narrow")(stem), stem], name="front")


def middle() -> keras.Model:
    """Takes both, and hands the second on as it is."""
    narrow, stem = keras.Input([4], name="narrow"), keras.Input([6], name="stem")
    wide = layers.Dense(6, activation="relu", kernel_regularizer="l2", name="wide")(narrow)
    return keras.Model([narrow, stem], [wide, layers.Identity(name="passed")(stem)], name="middle")


def back() -> keras.Model:
    """The head."""
    wide, stem = keras.Input([6], name="wide"), keras.Input([6], name="passed")
    return keras.Model([wide, stem], layers.Dense(2, name="out")(layers.Add(name="joined")([wide, stem])), name="back")


def whole() -> keras.Model:
    """All three in one piece."""
    x = keras.Input([5], name="x")
    stem = layers.Dense(6, activation="tanh", name="stem")(x)
    narrow = layers.Dense(4, name="narrow")(stem)
    wide = layers.Dense(6, activation="relu", kernel_regularizer="l2", name="wide")(narrow)
    return keras.Model(x, layers.Dense(2, name="out")(layers.Add(name="joined")([wide, stem])), name="reference")
