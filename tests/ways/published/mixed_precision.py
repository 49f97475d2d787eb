"""A convolutional classifier in mixed precision, whose training step scales the loss by hand."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("published")
class Scaled(keras.Model):
    def train_step(self, data: Any) -> dict[str, Any]:
        images, classes = data
        with tf.GradientTape() as tape:
            predictions = self(images, training=True)
            value = self.compute_loss(images, classes, predictions)
            scaled = self.optimizer.scale_loss(value)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)  # which divides by the scale
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}


def build() -> keras.Model:
    images = keras.Input((16, 16, 3), name="images")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(images)
    x = layers.GroupNormalization(4)(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return Scaled(
        images, layers.Dense(4, activation="softmax", dtype="float32", name="classes")(x), name="mixed_precision"
    )
