"""Digits for `digits.yaml`, drawn as on a pocket calculator: images of 8x8 pixels and their classes."""

from __future__ import annotations

import numpy as np

#: The seven bars of a digit: the rows and the columns that each fills.
BARS = {
    "top": (0, slice(1, 4)),
    "upper left": (slice(0, 4), 0),
    "upper right": (slice(0, 4), 4),
    "middle": (3, slice(1, 4)),
    "lower left": (slice(3, 7), 0),
    "lower right": (slice(3, 7), 4),
    "bottom": (6, slice(1, 4)),
}
#: The bars that are on for each digit, in the order above.
LIT = ("1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011")


def batch(count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` noisy digits: pixels from 0 to 1 in the shape (count, 8, 8, 1), and classes from 0 to 9."""
    rng = np.random.default_rng(0)
    images, classes = rng.uniform(0, 0.2, (count, 8, 8)), np.arange(count) % 10
    for image, digit in zip(images, classes, strict=True):
        row, column = rng.integers(0, 2), rng.integers(0, 4)
        drawn = image[row : row + 7, column : column + 5]  # a view: what is drawn here is drawn on the image
        for place, lit in zip(BARS.values(), LIT[digit], strict=True):
            drawn[place] += float(lit) * rng.uniform(0.5, 0.8)
    return np.minimum(images, 1.0)[..., None].astype("float32"), classes
