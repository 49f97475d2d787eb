"""Models as a notebook has them, and a batch for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def batch() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=(6, 2)).astype("float32")


@pytest.fixture
def keras_() -> Any:
    """Keras, in a session of its own with a seed."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(5)
    return keras


@pytest.fixture
def parts(keras_: Any) -> Any:
    """Two models, the second of which is compiled."""
    front = keras_.Sequential(
        [keras_.Input((4,)), keras_.layers.Dense(5, activation="tanh", name="first")], name="front"
    )
    back = keras_.Sequential([keras_.Input((5,)), keras_.layers.Dense(2, name="out")], name="back")
    back.compile("sgd", "mse")
    return front, back
