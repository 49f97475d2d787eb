"""PCGrad as published: project every task gradient on the normal plane of the others."""

import random
import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(46)
trunk = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh")])
heads = [keras.layers.Dense(1) for _ in range(2)]
opt = keras.optimizers.Adam(0.01)
for step in range(4):
    x = np.random.randn(8, 4).astype("float32")
    targets = [x[:, :1], -3 * x[:, :1] + x[:, 1:2]]
    with tf.GradientTape(persistent=True) as tape:
        z = trunk(x)
        losses = []
        for t, h in zip(targets, heads):
            losses.append(tf.reduce_mean((h(z) - t) ** 2))
    task = []
    for l in losses:
        gs = tape.gradient(l, trunk.trainable_variables)
        task.append(tf.concat([tf.reshape(g, [-1]) for g in gs], 0))
    out = []
    for i, g in enumerate(task):
        for j in random.sample(range(len(task)), len(task)):
            if i != j:
                d = tf.tensordot(g, task[j], 1)
                g = g - tf.minimum(d, 0.0) / tf.reduce_sum(task[j] ** 2) * task[j]
        out.append(g)
    flat = tf.reduce_mean(tf.stack(out), 0)
    grads, k = [], 0
    for v in trunk.trainable_variables:
        n = int(np.prod(v.shape))
        grads.append(tf.reshape(flat[k : k + n], v.shape))
        k += n
    own = [
        (g, v)
        for l, h in zip(losses, heads)
        for g, v in zip(tape.gradient(l, h.trainable_variables), h.trainable_variables)
    ]
    opt.apply_gradients(list(zip(grads, trunk.trainable_variables)) + own)
    print(step, [float(l) for l in losses])
