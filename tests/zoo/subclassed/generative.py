"""Models that generate, as subclasses: autoencoders that draw, adversaries, flows, diffusion."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import Input, layers, ops


class Sampling(layers.Layer):
    """Draws z by the reparametrisation trick, and adds the divergence from the unit normal to the loss."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        z_mean, z_log_var = inputs
        kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
        self.add_loss(0.1 * ops.mean(ops.sum(kl_loss, axis=1)))
        epsilon = keras.random.normal(shape=ops.shape(z_mean), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class Encoder(keras.Model):
    """From an image to the mean, the log of the variance, and a draw."""

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")
        self.flatten = layers.Flatten()
        self.dense_mean = layers.Dense(latent_dim)
        self.dense_log_var = layers.Dense(latent_dim)
        self.sampling = Sampling()

    def call(self, images: Any) -> Any:
        x = self.flatten(self.conv(images))
        z_mean, z_log_var = self.dense_mean(x), self.dense_log_var(x)
        return z_mean, z_log_var, self.sampling((z_mean, z_log_var))


class Decoder(keras.Model):
    """From a code to an image."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(4 * 4 * 4, activation="relu")
        self.reshape = layers.Reshape((4, 4, 4))
        self.deconv = layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")

    def call(self, z: Any) -> Any:
        return self.deconv(self.reshape(self.dense(z)))


class VAE(keras.Model):
    """Two subclassed models in a third."""

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = Encoder(latent_dim)
        self.decoder = Decoder()

    def call(self, inputs: Any) -> Any:
        _, _, z = self.encoder(inputs)
        return self.decoder(z)


def vae() -> keras.Model:
    return VAE(latent_dim=2)


class DrawingVAE(keras.Model):
    """Draws in its own `call`."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.hidden = layers.Dense(6, activation="relu")
        self.z_mean = layers.Dense(latent_dim)
        self.z_log_var = layers.Dense(latent_dim)
        self.decoder = keras.Sequential([layers.Dense(6, activation="relu"), layers.Dense(10, activation="sigmoid")])
        self.seed_generator = keras.random.SeedGenerator(42)

    def call(self, inputs: Any) -> Any:
        h = self.hidden(inputs)
        z_mean, z_log_var = self.z_mean(h), self.z_log_var(h)
        epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        return self.decoder(z_mean + ops.exp(0.5 * z_log_var) * epsilon)


def vae_that_draws() -> keras.Model:
    return DrawingVAE(latent_dim=2)


class VariationalAutoEncoder(keras.Model):
    """Adds the divergence to the loss in its own `call`."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.encoder = Encoder(latent_dim)
        self.decoder = Decoder()

    def call(self, inputs: Any) -> Any:
        z_mean, z_log_var, z = self.encoder(inputs)
        reconstructed = self.decoder(z)
        kl_loss = -0.5 * ops.mean(z_log_var - ops.square(z_mean) - ops.exp(z_log_var) + 1)
        self.add_loss(kl_loss)
        return reconstructed


def vae_that_adds_its_loss() -> keras.Model:
    return VariationalAutoEncoder(latent_dim=2)


class VectorQuantizer(layers.Layer):
    """Replaces each vector by the nearest of a codebook; gradients go straight through."""

    def __init__(self, num_embeddings: int, embedding_dim: int, beta: float = 0.25) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.beta = num_embeddings, embedding_dim, beta
        self.embeddings = self.add_weight(
            shape=(embedding_dim, num_embeddings), initializer="random_uniform", name="embeddings_vqvae"
        )

    def call(self, x: Any) -> Any:
        flattened = ops.reshape(x, (-1, self.embedding_dim))
        similarity = ops.matmul(flattened, self.embeddings)
        distances = ops.sum(flattened**2, axis=1, keepdims=True) + ops.sum(self.embeddings**2, axis=0) - 2 * similarity
        encodings = ops.one_hot(ops.argmin(distances, axis=1), self.num_embeddings)
        quantized = ops.reshape(ops.matmul(encodings, ops.transpose(self.embeddings)), ops.shape(x))
        commitment = ops.mean((ops.stop_gradient(quantized) - x) ** 2)
        self.add_loss(self.beta * commitment + ops.mean((quantized - ops.stop_gradient(x)) ** 2))
        return x + ops.stop_gradient(quantized - x)


class VQVAE(keras.Model):
    """An autoencoder with a discrete code."""

    def __init__(self, num_embeddings: int, latent_dim: int) -> None:
        super().__init__()
        self.encoder = keras.Sequential(
            [
                layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
                layers.Conv2D(latent_dim, 1, padding="same"),
            ]
        )
        self.quantizer = VectorQuantizer(num_embeddings, latent_dim)
        self.decoder = keras.Sequential(
            [
                layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu"),
                layers.Conv2DTranspose(1, 3, padding="same"),
            ]
        )

    def call(self, x: Any) -> Any:
        return self.decoder(self.quantizer(self.encoder(x)))


def vqvae() -> keras.Model:
    return VQVAE(num_embeddings=6, latent_dim=3)


class Generator(keras.Model):
    """From noise to an image."""

    def __init__(self) -> None:
        super().__init__()
        self.project = layers.Dense(4 * 4 * 4, use_bias=False)
        self.bn1 = layers.BatchNormalization()
        self.act1 = layers.LeakyReLU()
        self.reshape = layers.Reshape((4, 4, 4))
        self.up = layers.Conv2DTranspose(3, 4, strides=2, padding="same", use_bias=False)
        self.bn2 = layers.BatchNormalization()
        self.act2 = layers.LeakyReLU()
        self.to_image = layers.Conv2D(1, 3, padding="same", activation="tanh")

    def call(self, noise: Any, training: bool | None = None) -> Any:
        x = self.act1(self.bn1(self.project(noise), training=training))
        x = self.up(self.reshape(x))
        x = self.act2(self.bn2(x, training=training))
        return self.to_image(x)


def dcgan_generator() -> keras.Model:
    return Generator()


def dcgan_generator_twin() -> keras.Model:
    noise = Input((5,))
    x = layers.Dense(4 * 4 * 4, use_bias=False, name="project")(noise)
    x = layers.LeakyReLU(name="act1")(layers.BatchNormalization(name="bn1")(x))
    x = layers.Reshape((4, 4, 4), name="reshape")(x)
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", use_bias=False, name="up")(x)
    x = layers.LeakyReLU(name="act2")(layers.BatchNormalization(name="bn2")(x))
    return keras.Model(noise, layers.Conv2D(1, 3, padding="same", activation="tanh", name="to_image")(x))


class Discriminator(keras.Model):
    """From an image to one logit."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = layers.Conv2D(4, 3, strides=2, padding="same")
        self.act1 = layers.LeakyReLU(0.2)
        self.drop1 = layers.Dropout(0.3)
        self.conv2 = layers.Conv2D(6, 3, strides=2, padding="same")
        self.act2 = layers.LeakyReLU(0.2)
        self.drop2 = layers.Dropout(0.3)
        self.flatten = layers.Flatten()
        self.logit = layers.Dense(1)

    def call(self, image: Any, training: bool | None = None) -> Any:
        x = self.drop1(self.act1(self.conv1(image)), training=training)
        x = self.drop2(self.act2(self.conv2(x)), training=training)
        return self.logit(self.flatten(x))


def dcgan_discriminator() -> keras.Model:
    return Discriminator()


def dcgan_discriminator_twin() -> keras.Model:
    image = Input((8, 8, 1))
    x = layers.LeakyReLU(0.2, name="act1")(layers.Conv2D(4, 3, strides=2, padding="same", name="conv1")(image))
    x = layers.Dropout(0.3, name="drop1")(x)
    x = layers.LeakyReLU(0.2, name="act2")(layers.Conv2D(6, 3, strides=2, padding="same", name="conv2")(x))
    x = layers.Flatten(name="flatten")(layers.Dropout(0.3, name="drop2")(x))
    return keras.Model(image, layers.Dense(1, name="logit")(x))


class SNDiscriminator(keras.Model):
    """Every layer is divided by its greatest singular value."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = [
            layers.SpectralNormalization(layers.Conv2D(width, 3, strides=2, padding="same")) for width in (4, 6)
        ]
        self.flatten = layers.Flatten()
        self.logit = layers.SpectralNormalization(layers.Dense(1))

    def call(self, image: Any, training: bool | None = None) -> Any:
        for conv in self.convs:
            image = ops.leaky_relu(conv(image, training=training), 0.1)
        return self.logit(self.flatten(image), training=training)


def spectral_discriminator() -> keras.Model:
    return SNDiscriminator()


class Coupling(layers.Layer):
    """Scales and shifts one half of the coordinates by what the other half says."""

    def __init__(self, width: int, *, flip: bool) -> None:
        super().__init__()
        self.mask = np.array([0.0, 1.0, 0.0, 1.0] if flip else [1.0, 0.0, 1.0, 0.0], "float32")
        self.hidden = layers.Dense(width, activation="tanh")
        self.scale = layers.Dense(4, activation="tanh")
        self.shift = layers.Dense(4)

    def call(self, x: Any) -> Any:
        kept = x * self.mask
        h = self.hidden(kept)
        log_scale = self.scale(h) * (1 - self.mask)
        moved = (x * ops.exp(log_scale) + self.shift(h)) * (1 - self.mask)
        return kept + moved, ops.sum(log_scale, axis=-1)


class RealNVP(keras.Model):
    """Data to noise, and the log of the determinant."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.couplings = [Coupling(width, flip=bool(i % 2)) for i in range(depth)]

    def call(self, x: Any) -> Any:
        log_det = 0.0
        for coupling in self.couplings:
            x, change = coupling(x)
            log_det = log_det + change
        return {"z": x, "log_det": log_det}


def real_nvp() -> keras.Model:
    return RealNVP(depth=3, width=6)


class TimeEmbedding(layers.Layer):
    """Sinusoids of the time, and two dense layers over them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.dense1 = layers.Dense(dim, activation="swish")
        self.dense2 = layers.Dense(dim)

    def call(self, time: Any) -> Any:
        half = self.dim // 2
        frequencies = ops.exp(ops.arange(half, dtype="float32") * -(math.log(1000) / (half - 1)))
        angles = time * frequencies
        return self.dense2(self.dense1(ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)))


class Denoiser(keras.Model):
    """Predicts the noise in an image at a time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.time_embedding = TimeEmbedding(width)
        self.conv_in = layers.Conv2D(width, 3, padding="same")
        self.norm = layers.GroupNormalization(2)
        self.conv_out = layers.Conv2D(3, 3, padding="same", kernel_initializer="he_normal")

    def call(self, inputs: Any) -> Any:
        emb = self.time_embedding(inputs["time"])
        x = self.conv_in(inputs["image"])
        x = x + emb[:, None, None, :]
        return self.conv_out(ops.silu(self.norm(x)))


def diffusion() -> keras.Model:
    return Denoiser(width=8)
