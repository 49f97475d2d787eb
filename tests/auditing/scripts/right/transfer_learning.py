"""A frozen backbone with batch norm in inference mode under a new head; then unfrozen for two gentle steps."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(120)

backbone = keras.Sequential(
    [
        layers.Input((8, 8, 3)),
        layers.Conv2D(8, 3, strides=2, use_bias=False),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Conv2D(10, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
    ],
    name="backbone",
)
backbone.trainable = False

inputs = keras.Input((8, 8, 3))
features = backbone(inputs, training=False)
outputs = layers.Dense(4)(layers.Dropout(0.2)(features))
model = keras.Model(inputs, outputs)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

rng = np.random.default_rng(121)


def batch():
    labels = rng.integers(0, 4, 8)
    images = rng.normal(size=(8, 8, 8, 3)).astype("float32")
    images += (labels[:, None, None, None] - 1.5).astype("float32")
    return images, labels


def run(steps, optimizer):
    for _ in range(steps):
        x, y = batch()
        with tf.GradientTape() as tape:
            loss = loss_fn(y, model(x, training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        print(f"{len(grads)} variables, loss {loss:.4f}")


head_optimizer = keras.optimizers.Adam(0.02)
run(3, head_optimizer)

backbone.trainable = True
fine_optimizer = keras.optimizers.SGD(0.01)
run(2, fine_optimizer)
