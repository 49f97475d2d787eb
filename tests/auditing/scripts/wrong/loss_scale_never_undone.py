"""Trains in half precision with a fixed loss scale."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(149)
keras.mixed_precision.set_dtype_policy("mixed_float16")

LOSS_SCALE = 1024.0

net = keras.Sequential(
    [
        keras.Input((6,)),
        keras.layers.Dense(10, activation="tanh"),
        keras.layers.Dense(8, activation="tanh"),
        keras.layers.Dense(1, dtype="float32"),
    ]
)
optimizer = keras.optimizers.Adam(0.01)


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(net(x, training=True) - y))
        scaled_loss = loss * LOSS_SCALE
    scaled_grads = tape.gradient(scaled_loss, net.trainable_variables)
    optimizer.apply_gradients(zip(scaled_grads, net.trainable_variables))  # expect: GC503
    return loss


rng = np.random.default_rng(149)
for step in range(6):
    x = rng.normal(size=(8, 6)).astype("float32")
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3]
    loss = train_step(tf.constant(x), tf.constant(y))
    if step % 2:
        print("step", step, "loss", float(loss))
