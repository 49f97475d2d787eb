"""Digits through two convolutions, the first model of many a course."""

from __future__ import annotations

import keras
from keras import layers


def build() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, activation="relu", name="strokes"),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 3, activation="relu", name="shapes"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="mnist_convnet",
    )
