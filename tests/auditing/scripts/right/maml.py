"""Model-agnostic meta-learning on sinusoids, second order, with functional fast weights."""

import numpy as np
import tensorflow as tf
from keras import optimizers

INNER_LR = 0.05
META_BATCH = 3
SHOTS = 6


class SineTasks:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def sample(self):
        amplitude = self.rng.uniform(0.5, 2.0)
        phase = self.rng.uniform(0, np.pi)

        def draw():
            x = self.rng.uniform(-3, 3, size=(SHOTS, 1))
            return tf.constant(x, tf.float32), tf.constant(amplitude * np.sin(x + phase), tf.float32)

        return draw(), draw()


def init_weights(sizes, seed):
    rng = np.random.default_rng(seed)
    weights = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:]):
        scale = np.sqrt(2.0 / (fan_in + fan_out))
        weights.append(tf.Variable(rng.normal(scale=scale, size=(fan_in, fan_out)), dtype=tf.float32))
        weights.append(tf.Variable(0.1 * rng.normal(size=fan_out), dtype=tf.float32))
    return weights


def forward(x, weights):
    hidden = x
    pairs = list(zip(weights[::2], weights[1::2]))
    for kernel, bias in pairs[:-1]:
        hidden = tf.tanh(hidden @ kernel + bias)
    kernel, bias = pairs[-1]
    return hidden @ kernel + bias


def mse(y, prediction):
    return tf.reduce_mean(tf.square(y - prediction))


def adapt(weights, x, y):
    """One inner step; the result is a function of the weights that the outer tape follows."""
    with tf.GradientTape() as inner:
        inner.watch(weights)
        loss = mse(y, forward(x, weights))
    grads = inner.gradient(loss, weights)
    return [w - INNER_LR * g for w, g in zip(weights, grads)]


def meta_step(weights, optimizer, tasks):
    with tf.GradientTape() as outer:
        losses = []
        for _ in range(META_BATCH):
            (x_support, y_support), (x_query, y_query) = tasks.sample()
            fast = adapt(weights, x_support, y_support)
            fast = adapt(fast, x_support, y_support)
            losses.append(mse(y_query, forward(x_query, fast)))
        meta_loss = tf.add_n(losses) / META_BATCH
    grads = outer.gradient(meta_loss, weights)
    optimizer.apply_gradients(zip(grads, weights))
    return meta_loss


meta_weights = init_weights([1, 12, 12, 1], seed=21)
meta_optimizer = optimizers.Adam(0.01)
tasks = SineTasks(seed=8)
for it in range(3):
    print("iteration", it, "meta loss", float(meta_step(meta_weights, meta_optimizer, tasks)))
