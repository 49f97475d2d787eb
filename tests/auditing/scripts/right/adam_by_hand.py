import numpy as np, tensorflow as tf


class Adam:
    def __init__(self, params, lr=1e-2, b1=0.9, b2=0.999, eps=1e-8, wd=1e-2):
        self.p = params
        self.m = [tf.Variable(tf.zeros_like(p), trainable=False) for p in params]
        self.v = [tf.Variable(tf.zeros_like(p), trainable=False) for p in params]
        self.t, self.lr, self.b1, self.b2, self.eps, self.wd = 0, lr, b1, b2, eps, wd

    def step(self, grads):
        self.t += 1
        for p, g, m, v in zip(self.p, grads, self.m, self.v):
            m.assign(self.b1 * m + (1 - self.b1) * g)
            v.assign(self.b2 * v + (1 - self.b2) * g * g)
            mh = m / (1 - self.b1**self.t)
            vh = v / (1 - self.b2**self.t)
            p.assign(p - self.lr * (mh / (tf.sqrt(vh) + self.eps) + self.wd * p))


tf.random.set_seed(6)
W1 = tf.Variable(tf.random.normal((3, 10)) * 0.4)
b1 = tf.Variable(tf.zeros(10))
W2 = tf.Variable(tf.random.normal((10, 1)) * 0.4)
b2 = tf.Variable(tf.zeros(1))
params = [W1, b1, W2, b2]
opt = Adam(params)
for e in range(4):
    x = tf.random.normal((20, 3))
    with tf.GradientTape() as tape:
        p = tf.tanh(x @ W1 + b1) @ W2 + b2
        loss = tf.reduce_mean((p - x[:, :1]) ** 2)
    opt.step(tape.gradient(loss, params))
    print(loss.numpy())
