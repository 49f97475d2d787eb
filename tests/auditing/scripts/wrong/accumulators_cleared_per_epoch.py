"""Gradient buffers are zeroed at the start of an epoch instead of after each update."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(6)
m = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(1)])
opt = keras.optimizers.SGD(0.05)
buf = [tf.Variable(tf.zeros_like(v), trainable=False) for v in m.trainable_variables]
ACC = 2
for epoch in range(2):
    for b in buf:
        b.assign(tf.zeros_like(b))
    for i in range(6):
        x = np.random.rand(4, 3).astype("float32")
        with tf.GradientTape() as t:
            loss = tf.reduce_mean((m(x) - x[:, :1]) ** 2) / ACC
        for b, g in zip(buf, t.gradient(loss, m.trainable_variables)):
            b.assign_add(g)
        if (i + 1) % ACC == 0:
            opt.apply_gradients(zip(buf, m.trainable_variables))  # expect: GC205
    print(epoch, float(loss))
