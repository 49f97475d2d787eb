"""A denoising autoencoder with its own train_step, trained by fit."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class DenoisingAutoencoder(keras.Model):
    def __init__(self, features, code, noise=0.3, **kwargs):
        super().__init__(**kwargs)
        self.corrupt = layers.GaussianNoise(noise)
        self.encoder = keras.Sequential([layers.Dense(16, activation="relu"), layers.Dense(code)])
        self.decoder = keras.Sequential([layers.Dense(16, activation="relu"), layers.Dense(features)])
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def call(self, x, training=False):
        code = self.encoder(self.corrupt(x, training=training), training=training)
        return self.decoder(code, training=training)

    def train_step(self, data):
        x = data[0] if isinstance(data, tuple) else data
        with tf.GradientTape() as tape:
            reconstruction = self(x, training=True)
            loss = tf.reduce_mean(tf.reduce_sum(tf.square(x - reconstruction), axis=-1))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.loss_tracker.update_state(loss)
        return {m.name: m.result() for m in self.metrics}


def main():
    keras.utils.set_random_seed(33)
    rng = np.random.default_rng(33)
    basis = rng.normal(size=(3, 8))
    x = (rng.normal(size=(32, 3)) @ basis).astype("float32")
    model = DenoisingAutoencoder(features=8, code=3)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    history = model.fit(x, batch_size=8, epochs=2, verbose=2)
    return model, history.history


if __name__ == "__main__":
    model, history = main()
