"""Outlines of pets: a small U-Net, whose loss weighs every pixel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

SIDE = 16


def twice(x: Any, width: int) -> Any:
    """Two convolutions with batch normalisation."""
    for _ in range(2):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
    return x


def build() -> keras.Model:
    photo = keras.Input((SIDE, SIDE, 3), name="photo")
    fine = twice(photo, 6)
    coarse = twice(layers.MaxPooling2D(2)(fine), 8)
    x = twice(layers.MaxPooling2D(2)(coarse), 10)
    for width, skipped in ((8, coarse), (6, fine)):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same")(x)
        x = twice(layers.concatenate([x, skipped]), width)
    return keras.Model(photo, layers.Conv2D(3, 1, activation="softmax", name="part")(x), name="unet_segmentation")


def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Discs on noise: 0 outside, 1 inside, 2 at the edge, which counts four times."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centre = rng.uniform(5, 11, (6, 2, 1, 1))
    radius = rng.uniform(2, 5, (6, 1, 1))
    beyond = np.hypot(rows - centre[:, 0], columns - centre[:, 1]) - radius
    part = np.where(np.abs(beyond) < 1, 2, beyond < 0)
    photo = rng.uniform(0, 0.5, (6, SIDE, SIDE, 3)) + 0.5 * (part > 0)[..., None]
    return photo.astype("float32"), part[..., None], np.where(part == 2, 4.0, 1.0).astype("float32")
