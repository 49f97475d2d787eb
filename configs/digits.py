"""Handwritten digits for `digits.yaml`: images of 8x8 pixels and their classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def batch(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` digits: pixels from 0 to 1 in the shape (count, 8, 8, 1), classes from 0 to 9."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: pip install scikit-learn") from error
    digits = load_digits()
    return (digits.images[:count, ..., None] / 16.0).astype("float32"), digits.target[:count]
