"""Truncated backpropagation inside one tape: the state is cut with stop_gradient between the chunks."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(36)
gru = keras.layers.GRU(9, return_sequences=True, return_state=True)
project = keras.layers.Dense(1)
optimizer = keras.optimizers.SGD(0.1, momentum=0.8)


def chunked_loss(x, y, chunk=4):
    state = None
    losses = []
    for xs, ys in zip(tf.split(x, x.shape[1] // chunk, axis=1), tf.split(y, y.shape[1] // chunk, axis=1)):
        hidden, state = gru(xs, initial_state=state)
        state = tf.stop_gradient(state)
        losses.append(tf.reduce_mean(tf.square(ys - project(hidden))))
    return tf.add_n(losses) / len(losses)


rng = np.random.default_rng(0)
for i in range(3):
    x = tf.constant(rng.normal(size=(8, 12, 2)), tf.float32)
    y = tf.math.cumsum(x[..., :1] * x[..., 1:], axis=1) / 2
    with tf.GradientTape() as tape:
        loss = chunked_loss(x, y)
    variables = gru.trainable_variables + project.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    print("loss", float(loss))
