"""Hidden features are standardised over the batch before the last layers see them."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(37)
rng = np.random.default_rng(37)
X = rng.normal(size=(40, 5)).astype("float32")
Y = (X[:, :1] * X[:, 1:2] + 0.3 * X[:, 2:3]).astype("float32")

bottom = keras.Sequential([keras.Input((5,)), keras.layers.Dense(9, "tanh"), keras.layers.Dense(6, use_bias=False)])
top = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
opt = keras.optimizers.Adam(0.01)
params = bottom.trainable_variables + top.trainable_variables


def standardise(h, eps=1e-5):
    h = h.numpy()  # expect: GC102
    return (h - h.mean(axis=0)) / (h.std(axis=0) + eps)


step = 0
for x, y in tf.data.Dataset.from_tensor_slices((X, Y)).batch(8):
    with tf.GradientTape() as tape:
        prediction = top(standardise(bottom(x)))
        loss = tf.reduce_mean(tf.square(prediction - y))
    grads = tape.gradient(loss, params)
    opt.apply_gradients([(g, p) for g, p in zip(grads, params) if g is not None])
    step += 1
    print(f"step {step}: loss {loss:.4f}")
