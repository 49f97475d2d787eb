"""Two views of every image, told from the views of all others: a loss that couples the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable

TEMPERATURE = 0.1


@keras.saving.register_keras_serializable("published")
def contrast(_labels: Any, views: Any) -> Any:
    """Cross-entropy of finding the other view among the batch's, for each image, in both directions.

    Args:
        views: (batch, 2, width), of unit length.
    """
    similarity = ops.matmul(views[:, 0], ops.transpose(views[:, 1])) / TEMPERATURE
    partner = ops.arange(ops.shape(views)[0])
    there, back = similarity, ops.transpose(similarity)
    crossentropy = keras.losses.sparse_categorical_crossentropy
    return (crossentropy(partner, there, from_logits=True) + crossentropy(partner, back, from_logits=True)) / 2


def loss() -> Callable[[Any, Any], Any]:
    return contrast


@keras.saving.register_keras_serializable("published")
class Contrastive(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.augmenter = keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                layers.RandomFlip("horizontal", seed=1),
                layers.GaussianNoise(0.1, seed=3),
            ],
            name="augmenter",
        )
        self.encoder = keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                layers.Conv2D(8, 3, strides=2, activation="relu"),
                layers.Conv2D(8, 3, strides=2, activation="relu"),
                layers.Flatten(),
                layers.Dense(16, activation="relu"),
            ],
            name="encoder",
        )
        self.projection = keras.Sequential(
            [keras.Input((16,)), layers.Dense(16, activation="relu"), layers.Dense(8)], name="projection"
        )
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def build(self, _shape: Any = None) -> None:
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        views = [self.projection(self.encoder(self.augmenter(images, training=training))) for _ in range(2)]
        return ops.stack([ops.normalize(view, axis=-1) for view in views], axis=1)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.loss_tracker]

    def train_step(self, data: Any) -> dict[str, Any]:
        images, labels = data
        with tf.GradientTape() as tape:
            value = ops.mean(contrast(labels, self(images, training=True)))
        gradients = tape.gradient(value, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.loss_tracker.update_state(value)
        return {"loss": self.loss_tracker.result()}


def build() -> keras.Model:
    model = Contrastive(name="simclr")
    model.build()
    return model


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Images without labels: what stands in their place is not looked at."""
    return np.random.default_rng(8).uniform(0, 1, (6, 12, 12, 3)), np.zeros(6)
