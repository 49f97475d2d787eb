"""Deep convolutional GAN on tiny synthetic images."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

BATCH_SIZE = 8
NOISE_DIM = 6
EPOCHS = 2

keras.utils.set_random_seed(42)


def make_dataset():
    rng = np.random.default_rng(0)
    rows = np.linspace(-1, 1, 8)
    phase = rng.uniform(0, np.pi, size=(32, 1, 1))
    images = np.sin(3 * rows[None, :, None] + phase) * np.cos(2 * rows[None, None, :] - phase)
    images = images[..., None].astype("float32")
    return tf.data.Dataset.from_tensor_slices(images).batch(BATCH_SIZE, drop_remainder=True)


def make_generator_model():
    model = keras.Sequential(name="generator")
    model.add(layers.Input((NOISE_DIM,)))
    model.add(layers.Dense(2 * 2 * 8, use_bias=False))
    model.add(layers.BatchNormalization())
    model.add(layers.LeakyReLU())
    model.add(layers.Reshape((2, 2, 8)))
    model.add(layers.Conv2DTranspose(6, 3, strides=2, padding="same", use_bias=False))
    model.add(layers.BatchNormalization())
    model.add(layers.LeakyReLU())
    model.add(layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="tanh"))
    return model


def make_discriminator_model():
    model = keras.Sequential(name="discriminator")
    model.add(layers.Input((8, 8, 1)))
    model.add(layers.Conv2D(6, 3, strides=2, padding="same"))
    model.add(layers.LeakyReLU())
    model.add(layers.Dropout(0.3))
    model.add(layers.Conv2D(8, 3, strides=2, padding="same"))
    model.add(layers.LeakyReLU())
    model.add(layers.Dropout(0.3))
    model.add(layers.Flatten())
    model.add(layers.Dense(1))
    return model


generator = make_generator_model()
discriminator = make_discriminator_model()
generator_optimizer = keras.optimizers.Adam(1e-3, beta_1=0.5)
discriminator_optimizer = keras.optimizers.Adam(1e-3, beta_1=0.5)
generator_optimizer.build(generator.trainable_variables)
discriminator_optimizer.build(discriminator.trainable_variables)
cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)


def discriminator_loss(real_output, fake_output):
    real_loss = cross_entropy(tf.ones_like(real_output), real_output)
    fake_loss = cross_entropy(tf.zeros_like(fake_output), fake_output)
    return real_loss + fake_loss


def generator_loss(fake_output):
    return cross_entropy(tf.ones_like(fake_output), fake_output)


@tf.function
def train_step(images):
    noise = tf.random.normal([BATCH_SIZE, NOISE_DIM])

    with tf.GradientTape() as gen_tape, tf.GradientTape() as disc_tape:
        generated_images = generator(noise, training=True)

        real_output = discriminator(images, training=True)
        fake_output = discriminator(generated_images, training=True)

        gen_loss = generator_loss(fake_output)
        disc_loss = discriminator_loss(real_output, fake_output)

    gradients_of_generator = gen_tape.gradient(gen_loss, generator.trainable_variables)
    gradients_of_discriminator = disc_tape.gradient(disc_loss, discriminator.trainable_variables)

    generator_optimizer.apply_gradients(zip(gradients_of_generator, generator.trainable_variables))
    discriminator_optimizer.apply_gradients(zip(gradients_of_discriminator, discriminator.trainable_variables))
    return gen_loss, disc_loss


def train(dataset, epochs):
    for epoch in range(epochs):
        for image_batch in dataset:
            gen_loss, disc_loss = train_step(image_batch)
        print(f"epoch {epoch + 1}: generator {gen_loss:.4f}, discriminator {disc_loss:.4f}")


train(make_dataset(), EPOCHS)
