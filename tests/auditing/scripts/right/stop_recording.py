"""Metrics are computed inside the tape's block but not recorded."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Experiment:
    def __init__(self, seed=71):
        keras.utils.set_random_seed(seed)
        self.rng = np.random.default_rng(seed)
        inputs = keras.Input((6, 4))
        x = layers.Bidirectional(layers.SimpleRNN(6, return_sequences=True))(inputs)
        x = layers.Dropout(0.2)(x)
        x = layers.GlobalAveragePooling1D()(x)
        self.model = keras.Model(inputs, layers.Dense(1)(x))
        self.optimizer = keras.optimizers.Adam(0.02)
        self.mae = keras.metrics.MeanAbsoluteError()
        self.clean_mae = keras.metrics.MeanAbsoluteError()

    def batch(self):
        x = self.rng.normal(size=(8, 6, 4)).astype("float32")
        return tf.constant(x), tf.constant(x[:, :, 0].mean(axis=1, keepdims=True) * 3 + 1)

    def step(self):
        x, y = self.batch()
        with tf.GradientTape() as tape:
            prediction = self.model(x, training=True)
            with tape.stop_recording():
                self.mae.update_state(y, prediction)
                self.clean_mae.update_state(y, self.model(x, training=False))
            loss = tf.reduce_mean(tf.square(y - prediction))
        grads = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
        return float(loss)


experiment = Experiment()
for number in range(4):
    loss = experiment.step()
    print(f"{number}: loss {loss:.4f} mae {experiment.mae.result():.4f} clean {experiment.clean_mae.result():.4f}")
