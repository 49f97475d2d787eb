"""A classifier with a compiled step as training loops from scratch have it: tape, loss, penalties, update."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("published")
class Classifier(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = layers.Dense(16, activation="relu", activity_regularizer="l2", name="hidden")
        self.logits = layers.Dense(4, kernel_regularizer="l1", name="logits")
        self.crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.hidden.build(shape)
        self.logits.build((None, 16))
        self.built = True

    def call(self, x: Any) -> Any:
        return self.logits(self.hidden(x))

    @tf.function(reduce_retracing=True)
    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            value = self.crossentropy(y, self(x, training=True)) + tf.add_n(self.losses)
        gradients = tape.gradient(value, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}


def build() -> keras.Model:
    model = Classifier(name="compiled_loop")
    model.build((None, 12))
    return model
