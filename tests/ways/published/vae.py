"""A variational autoencoder of 12x12 images: its own training step, its own trackers of both losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE, LATENT = 12, 2


@keras.saving.register_keras_serializable("published")
def per_image(images: Any, reconstructions: Any) -> Any:
    """Binary cross-entropy, summed over the pixels of each image."""
    return ops.sum(keras.losses.binary_crossentropy(images, reconstructions), axis=(1, 2))


def loss() -> Callable[[Any, Any], Any]:
    return per_image


@keras.saving.register_keras_serializable("published")
class Sampling(layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, mean: Any, log_variance: Any) -> Any:
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


@keras.saving.register_keras_serializable("published")
class Autoencoder(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 1)),
                layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
                layers.Flatten(),
                layers.Dense(12, activation="relu"),
            ],
            name="encoder",
        )
        self.mean = layers.Dense(LATENT, name="mean")
        self.log_variance = layers.Dense(LATENT, name="log_variance")
        self.sampling = Sampling(name="sampling")
        self.decoder = keras.Sequential(
            [
                keras.Input((LATENT,)),
                layers.Dense(SIDE // 2 * SIDE // 2 * 6, activation="relu"),
                layers.Reshape((SIDE // 2, SIDE // 2, 6)),
                layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu"),
                layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid"),
            ],
            name="decoder",
        )
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.divergence_tracker = keras.metrics.Mean(name="divergence")

    def build(self, _shape: Any = None) -> None:
        self.mean.build((None, 12))
        self.log_variance.build((None, 12))
        self.built = True

    def call(self, images: Any) -> Any:
        features = self.encoder(images)
        mean, log_variance = self.mean(features), self.log_variance(features)
        divergence = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
        self.add_loss(ops.mean(ops.sum(divergence, axis=1)))
        return self.decoder(self.sampling(mean, log_variance))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.reconstruction_tracker, self.divergence_tracker]

    def train_step(self, data: Any) -> dict[str, Any]:
        images, targets = data
        with tf.GradientTape() as tape:
            reconstruction = ops.mean(per_image(targets, self(images, training=True)))
            divergence = ops.sum(self.losses)
            total = reconstruction + divergence
        gradients = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.reconstruction_tracker.update_state(reconstruction)
        self.divergence_tracker.update_state(divergence)
        return {"loss": total} | {tracker.name: tracker.result() for tracker in self.metrics}


def build() -> keras.Model:
    model = Autoencoder(name="vae")
    model.build()
    return model
