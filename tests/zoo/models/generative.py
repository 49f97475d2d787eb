"""Models that generate: a variational autoencoder, and a GAN whose two halves are models of their own."""

from __future__ import annotations

from typing import Any

import keras
from keras import Input, Model, layers, ops


class Sampling(layers.Layer):
    """Draws z by the reparametrisation trick, and adds the KL divergence from the unit normal to the loss."""

    def __init__(self, beta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beta = beta
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        mean, log_variance = inputs
        kl = -0.5 * ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=-1)
        self.add_loss(self.beta * ops.mean(kl))
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


def vae() -> Model:
    """A variational autoencoder."""
    image = Input((8, 8, 1))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    mean, log_variance = layers.Dense(2, name="mean")(x), layers.Dense(2, name="log_variance")(x)
    encoder = Model(image, [mean, log_variance, Sampling(0.5)([mean, log_variance])], name="encoder")

    code = Input((2,))
    x = layers.Reshape((4, 4, 4))(layers.Dense(64, activation="relu")(code))
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(x)
    decoder = Model(code, layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")(x), name="decoder")

    _, _, z = encoder(image)
    return Model(image, decoder(z), name="vae")


def generator() -> Model:
    """Noise to images."""
    return keras.Sequential(
        [
            Input((5,)),
            layers.Dense(4 * 4 * 4),
            layers.Reshape((4, 4, 4)),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.2),
            layers.Conv2DTranspose(4, 4, strides=2, padding="same"),
            layers.Conv2D(1, 3, padding="same", activation="tanh"),
        ],
        name="generator",
    )


def discriminator() -> Model:
    """Images to one logit."""
    return keras.Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(4, 3, strides=2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.SpectralNormalization(layers.Dense(1)),
        ],
        name="discriminator",
    )


def frozen_discriminator() -> Model:
    """As it is held fixed while the generator learns from it."""
    model = discriminator()
    model.trainable = False
    return model
