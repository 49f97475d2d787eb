"""Saliency maps: gradients of a class score with respect to the input image."""

import keras
import numpy as np
import tensorflow as tf


class Explainer:
    def __init__(self, network):
        self.network = network

    @tf.function
    def saliency(self, images, classes):
        with tf.GradientTape() as tape:
            tape.watch(images)
            scores = tf.gather(self.network(images, training=False), classes, axis=1, batch_dims=1)
        return tf.reduce_max(tf.abs(tape.gradient(scores, images)), axis=-1)


keras.utils.set_random_seed(3)
network = keras.Sequential(
    [
        keras.Input((6, 6, 2)),
        keras.layers.Conv2D(4, 3, activation="swish"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, activation="softmax"),
    ]
)
explainer = Explainer(network)
images = tf.constant(np.random.default_rng(3).normal(size=(4, 6, 6, 2)).astype("float32"))
maps = explainer.saliency(images, tf.argmax(network(images), axis=1))
print("brightest pixel of each map", tf.reduce_max(maps, axis=(1, 2)).numpy())
