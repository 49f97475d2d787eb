"""Mixed precision with dynamic loss scaling in a custom loop."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, mixed_precision

keras.utils.set_random_seed(16)
mixed_precision.set_global_policy("mixed_float16")

inputs = keras.Input((8,))
x = layers.Dense(16, activation="relu")(inputs)
x = layers.Dense(16, activation="relu")(x)
x = layers.Dense(4)(x)
outputs = layers.Activation("softmax", dtype="float32")(x)
model = keras.Model(inputs, outputs)

optimizer = mixed_precision.LossScaleOptimizer(keras.optimizers.Adam(5e-3), initial_scale=2.0**10)
loss_fn = keras.losses.SparseCategoricalCrossentropy()

rng = np.random.default_rng(9)
data = rng.normal(size=(32, 8)).astype("float32")
target = (np.abs(data[:, :4])).argmax(axis=1)


def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x, training=True))
        scaled_loss = optimizer.scale_loss(loss)
    scaled_gradients = tape.gradient(scaled_loss, model.trainable_variables)
    optimizer.apply_gradients(zip(scaled_gradients, model.trainable_variables))
    return loss


for step, start in enumerate(range(0, 32, 8)):
    loss = train_step(data[start : start + 8], target[start : start + 8])
    print(f"step {step} loss {float(loss):.4f} scale {float(optimizer.dynamic_scale):.0f}")
