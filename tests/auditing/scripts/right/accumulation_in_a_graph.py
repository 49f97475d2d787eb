"""Accumulation in variables inside one tf.function with tf.cond, across epoch ends."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(42)
m = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(1)])
opt = keras.optimizers.Adam(1e-2)
opt.build(m.trainable_variables)
K = 3
acc = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in m.trainable_variables]
n = tf.Variable(0, trainable=False)


def flush():
    opt.apply([a / K for a in acc], m.trainable_variables)
    for a in acc:
        a.assign(tf.zeros_like(a))
    n.assign(0)
    return 0


@tf.function
def step(x):
    with tf.GradientTape() as t:
        loss = tf.reduce_mean((m(x, training=True) - x[:, :1]) ** 2)
    for a, g in zip(acc, t.gradient(loss, m.trainable_variables)):
        a.assign_add(g)
    n.assign_add(1)
    tf.cond(n >= K, flush, lambda: 0)
    return loss


for epoch in range(3):
    for x in tf.data.Dataset.from_tensor_slices(tf.random.normal((16, 4))).batch(8):
        print(epoch, step(x).numpy())
