"""Gradient noise (Neelakantan) and weight decay by hand."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(9)
model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7, "elu"), keras.layers.Dense(1)])
opt = keras.optimizers.Adam(1e-2)
for t in range(4):
    x = tf.random.normal((16, 5))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - x[:, 2:3]) ** 2)
    grads = tape.gradient(loss, model.trainable_variables)
    std = tf.sqrt(0.1 / (1 + t) ** 0.55)
    grads = [g + tf.random.normal(g.shape, stddev=std) for g in grads]
    opt.apply_gradients(zip(grads, model.trainable_variables))
    for v in model.trainable_variables:
        v.assign(v * (1 - 1e-3))
    print(t, float(loss))
