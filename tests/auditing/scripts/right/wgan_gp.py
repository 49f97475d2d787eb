"""Wasserstein GAN with gradient penalty on a ring of Gaussians."""

import argparse

import keras
import numpy as np
import tensorflow as tf


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--iterations", type=int, default=3)
    p.add_argument("--n-critic", type=int, default=2)
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--latent", type=int, default=4)
    p.add_argument("--gp-weight", type=float, default=10.0)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


args = parse_args()
keras.utils.set_random_seed(args.seed)
rng = np.random.default_rng(args.seed)

generator = keras.Sequential(
    [
        keras.layers.Input((args.latent,)),
        keras.layers.Dense(16, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("swish"),
        keras.layers.Dense(2),
    ]
)
critic = keras.Sequential(
    [
        keras.layers.Input((2,)),
        keras.layers.Dense(16, activation="swish"),
        keras.layers.Dense(16, activation="swish"),
        keras.layers.Dense(1, use_bias=False),
    ]
)
g_opt = keras.optimizers.Adam(2e-3, beta_1=0.0, beta_2=0.9)
c_opt = keras.optimizers.Adam(2e-3, beta_1=0.0, beta_2=0.9)


def real_batch():
    angle = rng.integers(0, 8, args.batch_size) * np.pi / 4
    centres = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 2
    return tf.constant(centres + 0.05 * rng.normal(size=centres.shape), tf.float32)


def gradient_penalty(real, fake):
    alpha = tf.random.uniform([args.batch_size, 1])
    interpolated = real + alpha * (fake - real)
    with tf.GradientTape() as gp_tape:
        gp_tape.watch(interpolated)
        pred = critic(interpolated)
    grads = gp_tape.gradient(pred, interpolated)
    norm = tf.sqrt(tf.reduce_sum(tf.square(grads), axis=1) + 1e-12)
    return tf.reduce_mean((norm - 1.0) ** 2)


def critic_step():
    real = real_batch()
    noise = tf.random.normal([args.batch_size, args.latent])
    fake = generator(noise, training=True)
    with tf.GradientTape() as tape:
        wasserstein = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
        loss = wasserstein + args.gp_weight * gradient_penalty(real, fake)
    grads = tape.gradient(loss, critic.trainable_variables)
    c_opt.apply_gradients(zip(grads, critic.trainable_variables))
    return loss


def generator_step():
    noise = tf.random.normal([args.batch_size, args.latent])
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(critic(generator(noise, training=True)))
    grads = tape.gradient(loss, generator.trainable_variables)
    g_opt.apply_gradients(zip(grads, generator.trainable_variables))
    return loss


for iteration in range(args.iterations):
    for _ in range(args.n_critic):
        c_loss = critic_step()
    g_loss = generator_step()
    print(f"{iteration}: critic {c_loss:.3f} generator {g_loss:.3f}")
