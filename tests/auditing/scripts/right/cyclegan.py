"""CycleGAN between two synthetic domains; one persistent tape serves all four networks."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

LAMBDA = 10.0


def unet(name):
    x = inputs = layers.Input((8, 8, 2))
    x = layers.Conv2D(6, 3, padding="same", activation="elu")(x)
    skip = x
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="elu")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="elu")(x)
    x = layers.Concatenate()([x, skip])
    x = layers.Conv2D(2, 3, padding="same", activation="tanh")(x)
    return keras.Model(inputs, x, name=name)


def patch_discriminator(name):
    return keras.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(6, 3, strides=2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.Conv2D(1, 3, padding="same"),
        ],
        name=name,
    )


class CycleGAN:
    def __init__(self, lr=2e-3):
        self.generator_g = unet("generator_g")  # X -> Y
        self.generator_f = unet("generator_f")  # Y -> X
        self.discriminator_x = patch_discriminator("discriminator_x")
        self.discriminator_y = patch_discriminator("discriminator_y")
        self.optimizers = {
            name: keras.optimizers.Adam(lr, beta_1=0.5)
            for name in ("generator_g", "generator_f", "discriminator_x", "discriminator_y")
        }

    @staticmethod
    def adversarial(prediction, is_real):
        target = tf.ones_like(prediction) if is_real else tf.zeros_like(prediction)
        return tf.reduce_mean(tf.square(target - prediction))

    @staticmethod
    def l1(a, b):
        return tf.reduce_mean(tf.abs(a - b))

    def train_step(self, real_x, real_y):
        with tf.GradientTape(persistent=True) as tape:
            fake_y = self.generator_g(real_x, training=True)
            cycled_x = self.generator_f(fake_y, training=True)
            fake_x = self.generator_f(real_y, training=True)
            cycled_y = self.generator_g(fake_x, training=True)
            same_x = self.generator_f(real_x, training=True)
            same_y = self.generator_g(real_y, training=True)

            disc_real_x = self.discriminator_x(real_x, training=True)
            disc_real_y = self.discriminator_y(real_y, training=True)
            disc_fake_x = self.discriminator_x(fake_x, training=True)
            disc_fake_y = self.discriminator_y(fake_y, training=True)

            gen_g_loss = self.adversarial(disc_fake_y, True)
            gen_f_loss = self.adversarial(disc_fake_x, True)
            cycle_loss = LAMBDA * (self.l1(real_x, cycled_x) + self.l1(real_y, cycled_y))

            losses = {
                "generator_g": gen_g_loss + cycle_loss + 0.5 * LAMBDA * self.l1(real_y, same_y),
                "generator_f": gen_f_loss + cycle_loss + 0.5 * LAMBDA * self.l1(real_x, same_x),
                "discriminator_x": 0.5 * (self.adversarial(disc_real_x, True) + self.adversarial(disc_fake_x, False)),
                "discriminator_y": 0.5 * (self.adversarial(disc_real_y, True) + self.adversarial(disc_fake_y, False)),
            }

        grads = {
            name: tape.gradient(loss, getattr(self, name).trainable_variables) for name, loss in losses.items()
        }
        del tape
        for name, optimizer in self.optimizers.items():
            optimizer.apply_gradients(zip(grads[name], getattr(self, name).trainable_variables))
        return losses


def domains(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        x = np.tanh(rng.normal(size=(6, 8, 8, 2))).astype("float32")
        y = np.sign(rng.normal(size=(6, 8, 8, 2))).astype("float32") * 0.8
        yield tf.constant(x), tf.constant(y)


if __name__ == "__main__":
    keras.utils.set_random_seed(99)
    gan = CycleGAN()
    for i, (real_x, real_y) in enumerate(domains(3, seed=1)):
        losses = gan.train_step(real_x, real_y)
        print(i, "  ".join(f"{name} {float(value):.3f}" for name, value in losses.items()))
