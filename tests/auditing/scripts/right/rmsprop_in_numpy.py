"""RMSProp with state in numpy arrays, written back with assign."""

import numpy as np, tensorflow as tf

rng = np.random.RandomState(7)
w = tf.Variable(rng.randn(4, 3), dtype=tf.float64, name="w")
c = tf.Variable(np.zeros(3), dtype=tf.float64, name="c")
cache = {v.name: np.zeros(v.shape) for v in (w, c)}
for it in range(5):
    X = rng.randn(10, 4)
    y = rng.randint(0, 3, 10)
    with tf.GradientTape() as t:
        logits = tf.matmul(X, w) + c
        L = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
    gs = t.gradient(L, [w, c])
    for v, g in zip((w, c), gs):
        g = g.numpy()
        cache[v.name] = 0.9 * cache[v.name] + 0.1 * g**2
        v.assign(v.numpy() - 0.05 * g / (np.sqrt(cache[v.name]) + 1e-8))
    print(it, float(L))
