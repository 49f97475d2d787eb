"""Activation checkpointing by hand: recomputation updates the moving statistics twice."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(12)
seg = keras.Sequential(
    [keras.Input((5,)), keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.ReLU()]
)
head = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
opt = keras.optimizers.SGD(0.1)
for step in range(3):
    x = np.random.randn(8, 5).astype("float32")
    h = seg(x, training=True)
    with tf.GradientTape() as t2:
        t2.watch(h)
        loss = tf.reduce_mean((head(h, training=True) - x[:, :1]) ** 2)
    gh, *g2 = t2.gradient(loss, [h, *head.trainable_variables])
    with tf.GradientTape() as t1:
        h2 = seg(x, training=True)  # expect: GC302
    g1 = t1.gradient(h2, seg.trainable_variables, output_gradients=gh)
    opt.apply_gradients(zip(g1 + g2, seg.trainable_variables + head.trainable_variables))
    print(float(loss))
