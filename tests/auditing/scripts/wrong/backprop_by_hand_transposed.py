"""Backprop written by hand in NumPy for the first layer, tape for the rest."""

import numpy as np, tensorflow as tf

rng = np.random.default_rng(16)
W1 = tf.Variable(rng.normal(size=(4, 4)) * 0.5, dtype=tf.float32)
W2 = tf.Variable(rng.normal(size=(4, 2)) * 0.5, dtype=tf.float32)
for i in range(3):
    x = tf.constant(rng.normal(size=(6, 4)), tf.float32)
    y = x[:, :2]
    with tf.GradientTape() as t1:
        z = x @ W1
    with tf.GradientTape() as t2:
        t2.watch(z)
        loss = tf.reduce_mean((tf.nn.relu(z) @ W2 - y) ** 2)
    gz, g2 = t2.gradient(loss, [z, W2])
    g1 = tf.matmul(gz, x, transpose_a=True)
    W1.assign_sub(0.1 * g1)  # expect: GC406
    W2.assign_sub(0.1 * g2)
    print(float(loss))
