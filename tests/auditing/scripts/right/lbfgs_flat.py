"""A closure on flat parameters, line search, weights set by assign of reshaped slices."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(28)
m = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
X = np.random.rand(20, 2).astype("float32")
Y = np.sin(X.sum(1, keepdims=True))
shapes = [v.shape for v in m.trainable_variables]
sizes = [int(np.prod(s)) for s in shapes]


def setflat(p):
    for v, q, s in zip(m.trainable_variables, tf.split(p, sizes), shapes):
        v.assign(tf.reshape(q, s))


def closure(p):
    setflat(p)
    with tf.GradientTape() as t:
        l = tf.reduce_mean((m(X) - Y) ** 2)
    return l, tf.concat([tf.reshape(g, (-1,)) for g in t.gradient(l, m.trainable_variables)], 0)


p = tf.concat([tf.reshape(v, (-1,)) for v in m.trainable_variables], 0)
l, g = closure(p)
for k in range(3):
    step = 1.0
    while True:
        ln, gn = closure(p - step * g)
        if ln < l or step < 1e-3:
            break
        step *= 0.5
    p, l, g = p - step * g, ln, gn
    print(k, float(l), step)
