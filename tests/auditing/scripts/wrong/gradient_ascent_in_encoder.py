"""Autoencoder with variables and gradient descent by hand."""

import numpy as np
import tensorflow as tf

LR = 0.05
rng = np.random.default_rng(151)


def glorot(rows, columns):
    return tf.Variable(rng.normal(scale=(2 / (rows + columns)) ** 0.5, size=(rows, columns)).astype("float32"))


encoder = {"w1": glorot(6, 8), "b1": tf.Variable(tf.zeros(8)), "w2": glorot(8, 4), "b2": tf.Variable(tf.zeros(4))}
decoder = {"w1": glorot(4, 8), "b1": tf.Variable(tf.zeros(8)), "w2": glorot(8, 6), "b2": tf.Variable(tf.zeros(6))}


def two_layers(p, x):
    return tf.tanh(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]


def descend(params, grads):
    for key, grad in grads.items():
        params[key].assign_sub(LR * grad)


def step_encoder(params, grads):
    for key, grad in grads.items():
        params[key].assign_add(LR * grad)  # expect: GC504


factors = rng.normal(size=(3, 6))
for step in range(6):
    batch = (rng.normal(size=(8, 3)) @ factors).astype("float32")
    with tf.GradientTape() as tape:
        code = two_layers(encoder, batch)
        loss = tf.reduce_mean(tf.square(two_layers(decoder, code) - batch)) + 0.01 * tf.reduce_mean(code**2)
    encoder_grads, decoder_grads = tape.gradient(loss, [encoder, decoder])
    descend(decoder, decoder_grads)
    step_encoder(encoder, encoder_grads)
    print(f"{step}: {loss.numpy():.4f}")
