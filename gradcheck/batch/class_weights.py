"""Weights by class, as `fit` takes them, as one weight for each example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def weights_of_classes(y: Any, weights: Mapping[int, float]) -> NDArray[Any]:
    """Return each example's weight by its class: an id, or the largest of a row, as Keras reads it."""
    classes = np.asarray(keras.tree.flatten(y)[0])
    if classes.ndim > 1:
        classes = classes.argmax(axis=-1) if classes.shape[-1] != 1 else classes[..., 0]
    ids = np.round(classes).astype(int)
    found: NDArray[Any] = np.vectorize(lambda one: float(weights.get(int(one), 1.0)), otypes=[float])(ids)
    return found
