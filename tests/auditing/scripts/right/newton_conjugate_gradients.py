"""Hessian-free: conjugate gradients with Hessian-vector products, step by assign_add."""

import numpy as np, tensorflow as tf

tf.random.set_seed(26)
w = tf.Variable(tf.random.normal((5, 1), dtype=tf.float64), dtype=tf.float64)
b = tf.Variable(0.0, dtype=tf.float64)
X = tf.random.normal((30, 5), dtype=tf.float64)
y = tf.cast(X[:, :1] > 0, tf.float64)
P = [w, b]


def loss():
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, X @ w + b)) + 0.01 * tf.reduce_sum(w * w)


def hvp(v):
    with tf.GradientTape() as o:
        with tf.GradientTape() as t:
            L = loss()
        g = t.gradient(L, P)
    return o.gradient(g, P, output_gradients=v)


def cg(g, n=4):
    x = [tf.zeros_like(a) for a in g]
    r = [-a for a in g]
    p = r
    dot = lambda a, b: tf.add_n([tf.reduce_sum(i * j) for i, j in zip(a, b)])
    rs = dot(r, r)
    for _ in range(n):
        Ap = [h + 0.05 * q for h, q in zip(hvp(p), p)]
        al = rs / dot(p, Ap)
        x = [a + al * q for a, q in zip(x, p)]
        r = [a - al * q for a, q in zip(r, Ap)]
        new = dot(r, r)
        p = [a + new / rs * q for a, q in zip(r, p)]
        rs = new
    return x


for i in range(3):
    with tf.GradientTape() as t:
        L = loss()
    for v, d in zip(P, cg(t.gradient(L, P))):
        v.assign_add(d)
    print(L.numpy())
