"""Two views of every image without negatives: the gradient stops at one of them, batch normalisation couples them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 8


@keras.saving.register_keras_serializable("published")
def disagreement(_labels: Any, pairs: Any) -> Any:
    """Negative cosine similarity of each prediction with the other view's projection.

    Args:
        pairs: (batch, 2 views, prediction and projection, width), of unit length.
    """
    first, second = pairs[:, 0], pairs[:, 1]
    return -ops.sum(first[:, 0] * second[:, 1] + second[:, 0] * first[:, 1], axis=-1) / 2


def loss() -> Callable[[Any, Any], Any]:
    return disagreement


@keras.saving.register_keras_serializable("published")
class Siamese(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.noise = layers.GaussianNoise(0.3, seed=1)
        self.encoder = keras.Sequential(
            [
                keras.Input((10, 10, 1)),
                layers.Conv2D(6, 3, strides=2, use_bias=False),
                layers.BatchNormalization(),
                layers.Activation("relu"),
                layers.Flatten(),
                layers.Dense(WIDTH, use_bias=False),
                layers.BatchNormalization(),
            ],
            name="encoder",
        )
        self.predictor = keras.Sequential(
            [keras.Input((WIDTH,)), layers.Dense(4, activation="relu"), layers.Dense(WIDTH)], name="predictor"
        )
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def build(self, _shape: Any = None) -> None:
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        pairs = []
        for _ in range(2):
            projection = self.encoder(self.noise(images, training=training), training=training)
            prediction = self.predictor(projection, training=training)
            pairs.append(ops.stack([prediction, ops.stop_gradient(projection)], axis=1))
        return ops.normalize(ops.stack(pairs, axis=1), axis=-1)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.loss_tracker]

    def train_step(self, data: Any) -> dict[str, Any]:
        images, labels = data
        with tf.GradientTape() as tape:
            value = ops.mean(disagreement(labels, self(images, training=True)))
        gradients = tape.gradient(value, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self.loss_tracker.update_state(value)
        return {"loss": self.loss_tracker.result()}


def build() -> keras.Model:
    model = Siamese(name="simsiam")
    model.build()
    return model


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Images without labels: what stands in their place is not looked at."""
    return np.random.default_rng(8).uniform(0, 1, (8, 10, 10, 1)), np.zeros(8)
