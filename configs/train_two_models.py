"""Two models in a row, and one training step for both: the gradient goes back from the second to the first by hand."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers


def encoder() -> keras.Model:
    """From 12 features to 8."""
    x = keras.Input((12,))
    y = layers.Dense(16, activation="relu")(x)
    return keras.Model(x, layers.Dense(8, activation="tanh")(y), name="encoder")


def classifier() -> keras.Model:
    """From 8 features to a probability."""
    x = keras.Input((8,))
    y = layers.Dense(8, activation="relu")(layers.Dropout(0.1)(x))
    return keras.Model(x, layers.Dense(1, activation="sigmoid")(y), name="classifier")


def train_step(given: Any) -> tf.Tensor:
    """One step on the batch: `given` holds the two models, the batch, the loss and the optimizer."""
    model_0, model_1 = given.segments
    with tf.GradientTape() as tape_0:
        code = model_0(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(code)
        loss = given.loss(given.y, model_1(code, training=True))

    from_loss, *gradients_1 = tape_1.gradient(loss, [code, *model_1.trainable_variables])
    gradients_0 = tape_0.gradient(code, model_0.trainable_variables, output_gradients=from_loss)

    variables = [*model_0.trainable_variables, *model_1.trainable_variables]
    given.optimizer.apply_gradients(zip([*gradients_0, *gradients_1], variables, strict=True))
    return loss
