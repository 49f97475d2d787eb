"""Variational autoencoder with the reparametrisation trick."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

LATENT = 3


class CVAE(keras.Model):
    def __init__(self, latent_dim):
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = keras.Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.Conv2D(6, 3, strides=2, activation="relu"),
                layers.Flatten(),
                layers.Dense(2 * latent_dim),
            ]
        )
        self.decoder = keras.Sequential(
            [
                layers.Input((latent_dim,)),
                layers.Dense(4 * 4 * 6, activation="relu"),
                layers.Reshape((4, 4, 6)),
                layers.Conv2DTranspose(1, 3, strides=2, padding="same"),
            ]
        )

    def encode(self, x):
        mean, logvar = tf.split(self.encoder(x), num_or_size_splits=2, axis=1)
        return mean, logvar

    def reparameterize(self, mean, logvar):
        eps = tf.random.normal(shape=tf.shape(mean))
        return eps * tf.exp(logvar * 0.5) + mean

    def decode(self, z):
        return self.decoder(z)


def log_normal_pdf(sample, mean, logvar):
    log2pi = tf.math.log(2.0 * np.pi)
    return tf.reduce_sum(-0.5 * ((sample - mean) ** 2.0 * tf.exp(-logvar) + logvar + log2pi), axis=1)


def compute_loss(model, x):
    mean, logvar = model.encode(x)
    z = model.reparameterize(mean, logvar)
    x_logit = model.decode(z)
    cross_ent = tf.nn.sigmoid_cross_entropy_with_logits(logits=x_logit, labels=x)
    logpx_z = -tf.reduce_sum(cross_ent, axis=[1, 2, 3])
    logpz = log_normal_pdf(z, 0.0, 0.0)
    logqz_x = log_normal_pdf(z, mean, logvar)
    return -tf.reduce_mean(logpx_z + logpz - logqz_x)


def train_step(model, x, optimizer):
    with tf.GradientTape() as tape:
        loss = compute_loss(model, x)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


keras.utils.set_random_seed(20)
rng = np.random.default_rng(20)
model = CVAE(LATENT)
optimizer = keras.optimizers.Adam(1e-3)
for step in range(4):
    corner = rng.integers(0, 5, size=(6, 2))
    images = np.zeros((6, 8, 8, 1), "float32")
    for image, (r, c) in zip(images, corner):
        image[r : r + 4, c : c + 4] = 1.0
    loss = train_step(model, tf.constant(images), optimizer)
    print(f"step {step}, ELBO {-loss.numpy():.3f}")
