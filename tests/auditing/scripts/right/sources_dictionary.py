"""Two tasks on one encoder; gradients by a dictionary of sources, zeros for the task that is not seen."""

import numpy as np
import tensorflow as tf
from keras import optimizers, utils


def glorot(rng, *shape):
    return tf.Variable(rng.normal(scale=np.sqrt(2 / sum(shape)), size=shape), dtype=tf.float32)


utils.set_random_seed(37)
rng = np.random.default_rng(37)

params = {
    "encoder": {"kernel": glorot(rng, 6, 12), "bias": tf.Variable(tf.zeros(12))},
    "regression": {"kernel": glorot(rng, 12, 2), "bias": tf.Variable(tf.zeros(2))},
    "classification": {"kernel": glorot(rng, 12, 4), "bias": tf.Variable(tf.zeros(4))},
}
optimizer = optimizers.SGD(0.1)


def affine(x, p):
    return x @ p["kernel"] + p["bias"]


def loss_for(task, x, y):
    features = tf.nn.gelu(affine(x, params["encoder"]))
    out = affine(features, params[task])
    if task == "regression":
        return tf.reduce_mean(tf.square(y - out))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=out))


def draw(task):
    x = tf.constant(rng.normal(size=(8, 6)), tf.float32)
    if task == "regression":
        return x, x[:, :2] * x[:, 2:4]
    return x, tf.argmax(x[:, :4], axis=1)


for step, task in enumerate(["regression", "classification"] * 3):
    x, y = draw(task)
    with tf.GradientTape() as tape:
        loss = loss_for(task, x, y)
    grads = tape.gradient(loss, params, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    optimizer.apply_gradients(zip(tf.nest.flatten(grads), tf.nest.flatten(params)))
    print(f"{step} {task:>14}: {loss:.4f}")
