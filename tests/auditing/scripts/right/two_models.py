"""Train a bottom and a top model that do not share a tape, in the plainest way."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(7)

bottom = keras.Sequential(
    [
        keras.Input((10,)),
        keras.layers.Dense(16, activation="tanh"),
        keras.layers.Dense(12, activation="gelu"),
    ]
)
top = keras.Sequential(
    [
        keras.Input((12,)),
        keras.layers.Dense(8, activation="tanh"),
        keras.layers.Dense(1),
    ]
)
optimizer = keras.optimizers.Adam(0.01)
mse = keras.losses.MeanSquaredError()

rng = np.random.default_rng(0)
x_train = rng.normal(size=(40, 10)).astype("float32")
y_train = (x_train[:, :1] * x_train[:, 1:2] + x_train[:, 2:3]).astype("float32")

for step in range(5):
    x = x_train[step * 8 : (step + 1) * 8]
    y = y_train[step * 8 : (step + 1) * 8]

    with tf.GradientTape() as bottom_tape:
        h = bottom(x)

    with tf.GradientTape() as top_tape:
        top_tape.watch(h)
        loss = mse(y, top(h))

    top_grads = top_tape.gradient(loss, [h] + top.trainable_variables)
    h_grad, top_grads = top_grads[0], top_grads[1:]
    bottom_grads = bottom_tape.gradient(h, bottom.trainable_variables, output_gradients=h_grad)

    optimizer.apply_gradients(
        zip(bottom_grads + top_grads, bottom.trainable_variables + top.trainable_variables)
    )
    print(f"step {step}: loss {float(loss):.4f}")
