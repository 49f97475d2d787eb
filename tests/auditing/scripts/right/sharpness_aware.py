"""Sharpness-aware minimisation: climb to the worst point nearby, use the gradient from there."""

import keras
import numpy as np
import tensorflow as tf


class SAM:
    def __init__(self, model, base_optimizer, rho=0.05):
        self.model = model
        self.base = base_optimizer
        self.rho = rho

    def loss(self, x, y):
        return tf.reduce_mean(keras.losses.categorical_crossentropy(y, self.model(x), from_logits=True))

    def step(self, x, y):
        weights = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        grads = tape.gradient(loss, weights)
        norm = tf.linalg.global_norm(grads) + 1e-12

        saved = [tf.identity(w) for w in weights]
        for w, g in zip(weights, grads):
            w.assign_add(self.rho * g / norm)
        with tf.GradientTape() as tape:
            perturbed = self.loss(x, y)
        sharp = tape.gradient(perturbed, weights)
        for w, s in zip(weights, saved):
            w.assign(s)

        self.base.apply_gradients(zip(sharp, weights))
        return loss, perturbed


keras.utils.set_random_seed(130)
rng = np.random.default_rng(130)
model = keras.Sequential(
    [keras.Input((6,)), keras.layers.Dense(16, activation="swish"), keras.layers.Dense(3)]
)
sam = SAM(model, keras.optimizers.SGD(0.1, momentum=0.9))
for step in range(4):
    x = rng.normal(size=(8, 6)).astype("float32")
    y = keras.utils.to_categorical(np.argmax(x[:, :3], axis=1), 3)
    loss, perturbed = sam.step(x, y)
    print(f"{step}: loss {loss:.4f} at the worst point {perturbed:.4f}")
