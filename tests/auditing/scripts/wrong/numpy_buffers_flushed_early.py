"""Buffers are flushed before the current micro-batch is added, then cleared after it."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(25)
m = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(1)])
opt = keras.optimizers.SGD(0.1)


class Accumulator:
    def __init__(self, vs, k):
        self.vs, self.k, self.i = vs, k, 0
        self.buf = [np.zeros(v.shape, "float32") for v in vs]

    def add(self, gs):
        self.i += 1
        if self.i % self.k == 0:
            opt.apply([tf.constant(b) for b in self.buf], self.vs)  # expect: GC206
            self.buf = [b * 0 for b in self.buf]
            return
        self.buf = [b + g.numpy() / self.k for b, g in zip(self.buf, gs)]


A = Accumulator(m.trainable_variables, 3)
for i in range(9):
    x = np.random.rand(4, 3).astype("float32")
    with tf.GradientTape() as t:
        l = tf.reduce_mean((m(x) - x[:, :1]) ** 2)
    A.add(t.gradient(l, A.vs))
    print(i, float(l))
