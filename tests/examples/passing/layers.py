"""Layers as people write them, for the configs of this folder."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class Tracked(keras.layers.Layer):
    """Scales by a trained factor, keeps a running mean, and adds a penalty on what passes through."""

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes the weights."""
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.mean = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False, name="mean")

    def call(self, x: Any, *, training: bool = False) -> Any:
        """Moves the mean only in training."""
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(x, axis=0))
        self.add_loss(self.rate * ops.mean(ops.square(x)))
        return x * self.scale


class Sampled(keras.layers.Layer):
    """Adds noise in training, from a generator that Keras tracks."""

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.generator = keras.random.SeedGenerator(5)

    def call(self, x: Any, *, training: bool = False) -> Any:
        """A sample of x + scale * N(0, 1)."""
        if not training:
            return x
        return x + self.scale * keras.random.normal(ops.shape(x), dtype=x.dtype, seed=self.generator)
