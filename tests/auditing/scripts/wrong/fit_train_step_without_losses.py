"""A sparse autoencoder with a train_step of its own: noise is added to what it has to reconstruct."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(163)


class SparseAutoencoder(keras.Model):
    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.noise = keras.layers.GaussianNoise(0.1, seed=3)
        self.encode = keras.layers.Dense(10, activation="sigmoid", activity_regularizer=keras.regularizers.L1(0.05))
        self.decode = keras.layers.Dense(dim)
        self.loss_tracker = keras.metrics.Mean(name="reconstruction")

    def call(self, x, training=False):
        return self.decode(self.encode(self.noise(x, training=training)))

    @property
    def metrics(self):
        return [self.loss_tracker]

    def train_step(self, x):
        with tf.GradientTape() as tape:
            reconstruction = self(x, training=True)
            loss = tf.reduce_mean(tf.reduce_sum(tf.square(x - reconstruction), axis=-1))
        gradients = tape.gradient(loss, self.trainable_variables)  # expect: GC501
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.loss_tracker.update_state(loss)
        return {"reconstruction": self.loss_tracker.result()}


rng = np.random.default_rng(163)
data = np.tanh(rng.normal(size=(40, 3)) @ rng.normal(size=(3, 6))).astype("float32")
autoencoder = SparseAutoencoder(dim=6)
autoencoder.compile(optimizer=keras.optimizers.Adam(0.01))
autoencoder.fit(data, batch_size=8, epochs=2, shuffle=False, verbose=2)
